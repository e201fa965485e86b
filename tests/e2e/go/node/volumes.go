package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/volume/secret"
	"k8s.io/kubernetes/pkg/volume/util"
)

func (p *pod) volume(name string) string { return filepath.Join(p.folder, "volumes", name) }

// writeVolumes brings the files of volumes to what ConfigMaps and Secrets say, by the kubelet's own writer.
func (p *pod) writeVolumes() error {
	if err := os.MkdirAll(p.folder, 0o755); err != nil {
		return err
	}
	for _, volume := range p.spec.Spec.Volumes {
		folder := p.volume(volume.Name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		files, err := p.files(&volume)
		if err != nil {
			return fmt.Errorf("the volume %s: %w", volume.Name, err)
		}
		if files == nil {
			continue
		}
		writer, err := util.NewAtomicWriter(folder, "pod "+p.spec.Name)
		if err != nil {
			return err
		}
		if err := writer.Write(files, nil); err != nil {
			return err
		}
	}
	return nil
}

// files returns what a volume should hold, and nothing for one that holds what its pod writes.
func (p *pod) files(volume *v1.Volume) (map[string]util.FileProjection, error) {
	var (
		data     map[string][]byte
		err      error
		items    []v1.KeyToPath
		mode     *int32
		optional *bool
	)
	switch {
	case volume.ConfigMap != nil:
		source := volume.ConfigMap
		items, mode, optional = source.Items, source.DefaultMode, source.Optional
		data, err = p.configMap(source.Name, optional)
	case volume.Secret != nil:
		source := volume.Secret
		items, mode, optional = source.Items, source.DefaultMode, source.Optional
		data, err = p.secret(source.SecretName, optional)
	case volume.DownwardAPI != nil:
		data = map[string][]byte{}
		for _, item := range volume.DownwardAPI.Items {
			if item.FieldRef == nil {
				return nil, fmt.Errorf("the file %s: this node has those with a field of the pod, and no others", item.Path)
			}
			text, err := p.field(item.FieldRef.FieldPath)
			if err != nil {
				return nil, err
			}
			data[item.Path] = []byte(text)
		}
		mode = volume.DownwardAPI.DefaultMode
	case volume.EmptyDir != nil:
		return nil, nil
	default:
		return nil, fmt.Errorf("this node has ConfigMaps, Secrets, fields of the pod and emptyDir, and no other volumes")
	}
	if err != nil {
		return nil, err
	}
	return secret.MakePayload(items, &v1.Secret{Data: data}, mode, optional != nil && *optional)
}

// followVolumes brings changes into the running pod. What is gone meanwhile stays as it was.
func (p *pod) followVolumes() {
	for {
		select {
		case <-time.After(lookAgain):
		case <-p.watching.Done():
			return
		}
		if err := p.writeVolumes(); err != nil && p.watching.Err() == nil {
			log.Printf("Volumes of pod %s stay as they are: %v", p.spec.Name, err)
		}
	}
}
