{{/* The OTEL_ variables that the chart sets, as JSON. */}}
{{- define "allocation-gateway.otelSet" -}}
{{- $set := dict -}}
{{- if .Values.metrics.prometheus.enabled -}}
{{- $set = dict
    "OTEL_METRICS_EXPORTER" "prometheus"
    "OTEL_EXPORTER_PROMETHEUS_HOST" (include "allocation-gateway.host" . | trimPrefix "[" | trimSuffix "]")
    "OTEL_EXPORTER_PROMETHEUS_PORT" (.Values.metrics.prometheus.port | toJson)
-}}
{{- end -}}
{{- range $name, $value := .Values.otel -}}
{{- $_ := set $set $name ($value | toJson | trimAll "\"") -}}
{{- if kindIs "string" $value -}}
{{- $_ := set $set $name $value -}}
{{- end -}}
{{- end -}}
{{- toJson $set -}}
{{- end }}

{{/* The OTEL_ variables of pods whose text is known, as JSON. */}}
{{- define "allocation-gateway.otelKnown" -}}
{{- $known := include "allocation-gateway.otelSet" . | fromJson -}}
{{- range .Values.extraEnv -}}
{{- if and (hasPrefix "OTEL_" .name) (hasKey . "value") -}}
{{- $_ := set $known .name (toString .value) -}}
{{- end -}}
{{- end -}}
{{- toJson $known -}}
{{- end }}

{{/* Whether metrics are there for Prometheus, as `true` or nothing. */}}
{{- define "allocation-gateway.isScraped" -}}
{{- $exporters := get (include "allocation-gateway.otelKnown" . | fromJson) "OTEL_METRICS_EXPORTER" | lower -}}
{{- if and .Values.metrics.prometheus.enabled (regexMatch "(^|,) *prometheus *(,|$)" $exporters) -}}
true
{{- end -}}
{{- end }}

{{/*
The ports of the collectors that signals are sent to by OTLP, as lines, by the rules of the gateway: an endpoint for all
signals switches on traces and metrics; one of a signal's own, or its exporter, switches on that signal.
*/}}
{{- define "allocation-gateway.otlpPorts" -}}
{{- $known := include "allocation-gateway.otelKnown" . | fromJson -}}
{{- $ports := list -}}
{{- range $signal := list "TRACES" "METRICS" "LOGS" -}}
{{- $own := get $known (printf "OTEL_EXPORTER_OTLP_%s_ENDPOINT" $signal) | trim -}}
{{- $general := get $known "OTEL_EXPORTER_OTLP_ENDPOINT" | trim -}}
{{- $exporters := get $known (printf "OTEL_%s_EXPORTER" $signal) | lower | nospace -}}
{{- $implied := or $own (and $general (ne $signal "LOGS")) -}}
{{- if or (splitList "," $exporters | has "otlp") (and $implied (not $exporters)) -}}
{{- $protocols := list (get $known (printf "OTEL_EXPORTER_OTLP_%s_PROTOCOL" $signal)) (get $known "OTEL_EXPORTER_OTLP_PROTOCOL") "grpc" -}}
{{- $isHttp := eq (compact $protocols | first | trim | lower) "http/protobuf" -}}
{{- with default $general $own -}}
{{- $ports = concat $ports (include "allocation-gateway.endpointPorts" (dict "endpoint" . "isHttp" $isHttp) | splitList "," | compact) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if ne (get $known "OTEL_SDK_DISABLED" | trim | lower) "true" -}}
{{- uniq $ports | join "\n" -}}
{{- end -}}
{{- end }}

{{/* The ports of an endpoint outside of the pod, separated by commas, from a dict of `endpoint` and `isHttp`. */}}
{{- define "allocation-gateway.endpointPorts" -}}
{{- $isUrl := regexMatch "^(?i)https?://" .endpoint -}}
{{- $target := regexReplaceAll "^(?i)https?://" .endpoint "" | regexFind "^[^?#]*" -}}
{{- if $isUrl -}}
{{- $target = regexFind "^[^/]*" $target -}}
{{- end -}}
{{- if not (or (hasPrefix "unix:" $target) (regexMatch "^(localhost|127\\.[0-9.]+|\\[::1\\])(:[0-9]+)?$" $target)) -}}
{{- $ports := list -}}
{{- range regexFindAll ":[0-9]+(,|$)" $target -1 -}}
{{- $ports = append $ports (trimPrefix ":" . | trimSuffix ",") -}}
{{- end -}}
{{- /* Where a target of gRPC names no port, it is 443, with and without TLS. */}}
{{- $usual := ternary "80" "443" (and .isHttp (hasPrefix "http://" (lower .endpoint))) -}}
{{- default (list $usual) $ports | join "," -}}
{{- end -}}
{{- end }}

{{/* The port of an upstream, by its base URL. */}}
{{- define "allocation-gateway.urlPort" -}}
{{- $authority := regexReplaceAll "^[A-Za-z]+://" . "" | regexFind "^[^/?#]*" -}}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" -}}
{{- default (ternary "80" "443" (hasPrefix "http://" (lower .))) $port -}}
{{- end }}
