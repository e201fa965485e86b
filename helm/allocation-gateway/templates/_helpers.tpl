{{- define "allocation-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "allocation-gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "allocation-gateway.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "allocation-gateway.serviceAccountName" -}}
{{- $made := ternary (include "allocation-gateway.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end }}

{{/* The labels that never change: selectors are immutable. */}}
{{- define "allocation-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "allocation-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "allocation-gateway.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "allocation-gateway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The labels of a part, from a dict of `root` and, if it has some of its own, `labels`. Those of selectors stand. */}}
{{- define "allocation-gateway.labels" -}}
{{- $fixed := include "allocation-gateway.selectorLabels" .root | fromYaml -}}
{{- $own := include "allocation-gateway.ownLabels" .root | fromYaml -}}
{{- toYaml (merge dict $fixed (default dict .labels) (default dict .root.Values.commonLabels) $own) -}}
{{- end }}

{{/* The name of what stands beside the gateway, from a dict of `root` and `component`. */}}
{{- define "allocation-gateway.besideName" -}}
{{- $length := sub 62 (len .component) | int -}}
{{- printf "%s-%s" (include "allocation-gateway.fullname" .root | trunc $length | trimSuffix "-") .component -}}
{{- end }}

{{/* The labels by which that is selected. The gateway's own selectors must not find it, so it has a name of its own. */}}
{{- define "allocation-gateway.besideSelector" -}}
app.kubernetes.io/name: {{ include "allocation-gateway.name" .root | trunc (sub 62 (len .component) | int) | trimSuffix "-" }}-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* All of its labels. */}}
{{- define "allocation-gateway.besideLabels" -}}
{{- $fixed := include "allocation-gateway.besideSelector" . | fromYaml -}}
{{- $component := dict "app.kubernetes.io/component" .component -}}
{{- $own := include "allocation-gateway.ownLabels" .root | fromYaml -}}
{{- toYaml (merge dict $fixed $component (default dict .root.Values.commonLabels) $own) -}}
{{- end }}

{{/* Its name, labels and annotations, from a dict that may have `annotations` of its own, too. */}}
{{- define "allocation-gateway.besideMetadata" -}}
name: {{ include "allocation-gateway.besideName" . }}
labels:
  {{- include "allocation-gateway.besideLabels" . | nindent 2 }}
{{- with merge dict (default dict .annotations) (default dict .root.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Name, labels and annotations of an object, from a dict of `root` and, where needed, `name`, `labels`, `annotations`. */}}
{{- define "allocation-gateway.metadata" -}}
name: {{ default (include "allocation-gateway.fullname" .root) .name }}
labels:
  {{- include "allocation-gateway.labels" . | nindent 2 }}
{{- with merge dict (default dict .annotations) (default dict .root.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "allocation-gateway.tag" -}}
{{- default .Chart.AppVersion .Values.image.tag -}}
{{- end }}

{{/* An image of the gateway's registry, from a dict of `root`, `repository`, `tag` and `digest`. */}}
{{- define "allocation-gateway.imageOf" -}}
{{- $image := .repository -}}
{{- with default .root.Values.image.registry (.root.Values.global).imageRegistry -}}
{{- $image = printf "%s/%s" (trimSuffix "/" .) $image -}}
{{- end -}}
{{- if .digest -}}
{{- printf "%s@%s" $image .digest -}}
{{- else -}}
{{- printf "%s:%s" $image .tag -}}
{{- end -}}
{{- end }}

{{- define "allocation-gateway.image" -}}
{{- $tag := include "allocation-gateway.tag" . -}}
{{- include "allocation-gateway.imageOf" (dict "root" . "repository" .Values.image.repository "tag" $tag "digest" .Values.image.digest) -}}
{{- end }}

{{/* The image that has the sandbox. */}}
{{- define "allocation-gateway.sandboxImage" -}}
{{- $own := .Values.sandbox.image -}}
{{- $tag := default (printf "%s-sandbox" (include "allocation-gateway.tag" .)) $own.tag -}}
{{- $repository := default .Values.image.repository $own.repository -}}
{{- include "allocation-gateway.imageOf" (dict "root" . "repository" $repository "tag" $tag "digest" $own.digest) -}}
{{- end }}

{{/* The Secrets of the images' registries, those of the umbrella chart first, each once. */}}
{{- define "allocation-gateway.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list (.Values.global).imagePullSecrets) (default list .Values.imagePullSecrets) -}}
{{- if kindIs "string" . -}}
{{- $names = append $names . -}}
{{- else -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end -}}
{{- end }}

{{/* The address that pods listen on. */}}
{{- define "allocation-gateway.host" -}}
{{- $service := .Values.service -}}
{{- $both := list "PreferDualStack" "RequireDualStack" | has $service.ipFamilyPolicy -}}
{{- default (ternary "[::]" "0.0.0.0" (or $both (has "IPv6" $service.ipFamilies))) .Values.host -}}
{{- end }}

{{/* The configuration file. Numbers, strings, booleans and arrays are written alike in JSON and TOML; tables are not. */}}
{{- define "allocation-gateway.config" -}}
{{- range $name, $value := .Values.settings }}
{{- if kindIs "map" $value }}
{{- $pairs := list }}
{{- range $key, $text := $value }}
{{- $pairs = append $pairs (printf "%s = %s" (toJson $key) (toJson $text)) }}
{{- end }}
{{ $name }} = { {{ join ", " $pairs }} }
{{- else if not (kindIs "invalid" $value) }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* The seconds that a pod may take to end, rounded up: its hook if that tells, and then the gateway. */}}
{{- define "allocation-gateway.shutdownSeconds" -}}
{{- $settings := .Values.settings -}}
{{- $seconds := 0.0 -}}
{{- range $name := list "shutdown_delay" "shutdown_grace" "telemetry_flush_timeout" -}}
{{- $seconds = addf $seconds (get $settings $name) -}}
{{- end -}}
{{- $seconds = addf $seconds (dig "preStop" "sleep" "seconds" 0 (default dict .Values.lifecycle)) -}}
{{- ceil $seconds | int -}}
{{- end }}

{{/* How many pods there are at most. */}}
{{- define "allocation-gateway.pods" -}}
{{- if .Values.autoscaling.enabled -}}
{{- .Values.autoscaling.maxReplicas -}}
{{- else -}}
{{- max 1 (int .Values.replicaCount) -}}
{{- end -}}
{{- end }}

{{/* Where the sandbox is that all pods use. */}}
{{- define "allocation-gateway.sandboxUrl" -}}
http://{{ include "allocation-gateway.besideName" (dict "root" . "component" "sandbox") }}:8080
{{- end }}
