package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// The unit of the times in /proc/PID/stat, which Linux tells every program to be this one.
const tick = 10 * time.Millisecond

const sampleEvery = 100 * time.Millisecond

// tree returns a process and all that it started.
func tree(pid int) []int {
	found := []int{pid}
	for index := 0; index < len(found); index++ {
		folder := "/proc/" + strconv.Itoa(found[index]) + "/task/"
		tasks, _ := os.ReadDir(folder)
		for _, task := range tasks {
			children, _ := os.ReadFile(folder + task.Name() + "/children")
			for _, field := range strings.Fields(string(children)) {
				child, _ := strconv.Atoi(field)
				found = append(found, child)
			}
		}
	}
	return found
}

// cpu returns the time that a process and each that it started have run so far, all threads of each together.
func cpu(pid int) map[int]time.Duration {
	found := map[int]time.Duration{}
	for _, one := range tree(pid) {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(one) + "/stat")
		if err != nil {
			continue
		}
		// The name of the program may hold spaces, and stands in brackets.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		found[one] = time.Duration(user+system) * tick
	}
	return found
}

// memory returns the resident memory of a process and all that it started, in kB.
func memory(pid int) int64 {
	var total int64
	for _, one := range tree(pid) {
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(one) + "/status")
		for line := range strings.Lines(string(text)) {
			if rest, is := strings.CutPrefix(line, "VmRSS:"); is {
				kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				total += kilobytes
			}
		}
	}
	return total
}

// busy returns how long all cores together have worked since the machine started, for whomever.
func busy() time.Duration {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	var total int64
	for index, field := range strings.Fields(line)[1:] {
		// Neither idle nor waiting for a disk; times of guests are counted in the first two already.
		if index != 3 && index != 4 && index < 7 {
			value, _ := strconv.ParseInt(field, 10, 64)
			total += value
		}
	}
	return time.Duration(total) * tick
}

type stats struct {
	Sockets   int64 `json:"sockets"`
	InService int64 `json:"in_service"`
	Requests  int64 `json:"requests"`
}

func ask(url string) (found stats, err error) {
	answer, err := http.Get(url)
	if err != nil {
		return found, err
	}
	defer answer.Body.Close()
	return found, json.NewDecoder(answer.Body).Decode(&found)
}

// watched is what was seen while the calls of the window were made.
type watched struct {
	CPU       map[string]float64 `json:"cpu_seconds"`
	Parts     []float64          `json:"gateway_process_cpu_seconds"`
	Foreign   float64            `json:"foreign_cpu_seconds"`
	RSS       map[string]int64   `json:"rss_kb"`
	Sockets   int64              `json:"upstream_sockets_peak"`
	InService float64            `json:"upstream_in_service_mean"`
	Requests  int64              `json:"upstream_requests"`
}

// watch observes processes, and upstream's counts, until a time; it calls begin and end right beside its first and its
// last reading of the clocks.
func watch(pids map[string]int, url string, until time.Time, begin, end func()) (watched, error) {
	seen := watched{CPU: map[string]float64{}, RSS: map[string]int64{}}
	var first stats
	var err error
	if url != "" {
		if first, err = ask(url); err != nil {
			return seen, err
		}
	}
	before := map[string]map[int]time.Duration{}
	for name, pid := range pids {
		before[name] = cpu(pid)
	}
	all := busy()
	begin()
	samples, last := 0, first
	for time.Now().Before(until) {
		for name, pid := range pids {
			seen.RSS[name] = max(seen.RSS[name], memory(pid))
		}
		if url != "" {
			if last, err = ask(url); err != nil {
				return seen, err
			}
			seen.Sockets = max(seen.Sockets, last.Sockets)
			seen.InService += float64(last.InService)
			samples++
		}
		time.Sleep(min(sampleEvery, max(time.Until(until), 0)))
	}
	end()
	for name, pid := range pids {
		for one, total := range cpu(pid) {
			used := (total - before[name][one]).Seconds()
			seen.CPU[name] += used
			if name == "gateway" {
				seen.Parts = append(seen.Parts, used)
			}
		}
	}
	seen.Foreign = (busy() - all).Seconds()
	for _, own := range seen.CPU {
		seen.Foreign -= own
	}
	seen.Foreign = max(seen.Foreign, 0) // the clocks tick apart
	if url != "" {
		if last, err = ask(url); err != nil {
			return seen, err
		}
	}
	seen.Requests = last.Requests - first.Requests
	seen.InService /= float64(max(samples, 1))
	return seen, nil
}
