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
{{- toYaml (merge dict $fixed (default dict .labels) .root.Values.commonLabels $own) -}}
{{- end }}

{{/* Name, labels and annotations of an object, from a dict of `root` and, where needed, `name`, `labels`, `annotations`. */}}
{{- define "allocation-gateway.metadata" -}}
name: {{ default (include "allocation-gateway.fullname" .root) .name }}
labels:
  {{- include "allocation-gateway.labels" . | nindent 2 }}
{{- with merge dict (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "allocation-gateway.image" -}}
{{- $registry := default .Values.image.registry (.Values.global).imageRegistry -}}
{{- $image := .Values.image.repository -}}
{{- with $registry -}}
{{- $image = printf "%s/%s" (trimSuffix "/" .) $image -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $image .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{/* The Secrets of the images' registries, those of the umbrella chart first, each once. */}}
{{- define "allocation-gateway.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list (.Values.global).imagePullSecrets) .Values.imagePullSecrets -}}
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
{{- $seconds = addf $seconds (dig "preStop" "sleep" "seconds" 0 .Values.lifecycle) -}}
{{- ceil $seconds | int -}}
{{- end }}

{{/* The port of a URL. */}}
{{- define "allocation-gateway.urlPort" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (ternary "80" "443" (eq $url.scheme "http")) $port -}}
{{- end }}

{{/* How many processes serve the same account at most. Each pod's sandbox is an account of its own. */}}
{{- define "allocation-gateway.processes" -}}
{{- if .Values.sandbox.enabled -}}
1
{{- else if .Values.autoscaling.enabled -}}
{{- .Values.autoscaling.maxReplicas -}}
{{- else -}}
{{- max 1 (int .Values.replicaCount) -}}
{{- end -}}
{{- end }}

{{/* What a schema cannot say: values that need or exclude each other. */}}
{{- define "allocation-gateway.validate" -}}
{{- if not .Values.enabled -}}
{{- fail "enabled: is false, which only the condition of an umbrella chart's dependency can heed" -}}
{{- end -}}
{{- if not (or .Values.sandbox.enabled .Values.ship.apiKeySecret.name .Values.consignments.apiKeySecret.name) -}}
{{- fail "ship.apiKeySecret.name: is required: name an existing Secret with the key of the Ship API, or one in consignments.apiKeySecret.name, or set sandbox.enabled" -}}
{{- end -}}
{{- if not (or .Values.tls.secretName .Values.sandbox.enabled .Values.settings.allow_plaintext) -}}
{{- fail "tls.secretName: is required: name an existing Secret, or accept plaintext with settings.allow_plaintext=true" -}}
{{- end -}}
{{- $processes := include "allocation-gateway.processes" . | int -}}
{{- if and (gt $processes 1) (not .Values.store.urlSecret.name) (not .Values.settings.allow_unshared_claims) -}}
{{- fail "store.urlSecret.name: is required with more than one pod: name an existing Secret with the URL of the store, or set replicaCount=1, or accept that pods do not know of each other's writes with settings.allow_unshared_claims=true" -}}
{{- end -}}
{{- if and .Values.tls.clientCA.secretName (not .Values.tls.secretName) -}}
{{- fail "tls.clientCA.secretName: needs tls.secretName" -}}
{{- end -}}
{{- if and .Values.service.headless (ne .Values.service.type "ClusterIP") -}}
{{- fail "service.headless: needs service.type ClusterIP" -}}
{{- end -}}
{{- if and .Values.service.headless .Values.service.clusterIP -}}
{{- fail "service.headless: is set together with service.clusterIP" -}}
{{- end -}}
{{- include "allocation-gateway.validateService" . -}}
{{- $minAvailable := not (kindIs "invalid" .Values.podDisruptionBudget.minAvailable) -}}
{{- if and $minAvailable (not (kindIs "invalid" .Values.podDisruptionBudget.maxUnavailable)) -}}
{{- fail "podDisruptionBudget.minAvailable: is set together with podDisruptionBudget.maxUnavailable" -}}
{{- end -}}
{{- $needed := include "allocation-gateway.shutdownSeconds" . | int -}}
{{- with .Values.terminationGracePeriodSeconds -}}
{{- if le (int .) $needed -}}
{{- fail (printf "terminationGracePeriodSeconds: must be more than the %d seconds that the settings of the shutdown and lifecycle.preStop.sleep add up to" $needed) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Fields that Kubernetes refuses with other types of Service. */}}
{{- define "allocation-gateway.validateService" -}}
{{- $outside := list "NodePort" "LoadBalancer" -}}
{{- $types := dict
    "nodePort" $outside
    "externalTrafficPolicy" $outside
    "loadBalancerClass" (list "LoadBalancer")
    "loadBalancerIP" (list "LoadBalancer")
    "loadBalancerSourceRanges" (list "LoadBalancer")
    "allocateLoadBalancerNodePorts" (list "LoadBalancer")
-}}
{{- $service := .Values.service -}}
{{- range $field, $fitting := $types -}}
{{- $value := get $service $field -}}
{{- if and (or $value (kindIs "bool" $value)) (not (has $service.type $fitting)) -}}
{{- fail (printf "service.%s: needs service.type %s" $field (join " or " $fitting)) -}}
{{- end -}}
{{- end -}}
{{- if and $service.sessionAffinityConfig (ne $service.sessionAffinity "ClientIP") -}}
{{- fail "service.sessionAffinityConfig: needs service.sessionAffinity ClientIP" -}}
{{- end -}}
{{- end }}
