{{/* A text that is no longer than that, from a dict of `text` and `length`. What is longer ends in a hash of the whole, so
that texts which begin alike stay different. */}}
{{- define "allocation-gateway.shortened" -}}
{{- if gt (len .text) .length -}}
{{- printf "%s-%s" (trunc (sub .length 9 | int) .text | trimSuffix "-") (sha256sum .text | trunc 8) -}}
{{- else -}}
{{- .text -}}
{{- end -}}
{{- end }}

{{/* The name of the chart, or its alias, as the value of a label. */}}
{{- define "allocation-gateway.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride | trunc 63 -}}
{{- regexReplaceAll "^[^A-Za-z0-9]+|[^A-Za-z0-9]+$" $name "" -}}
{{- end }}

{{/*
The name of the objects. By itself the chart takes the release's name alone if that contains its own. Of several aliases in one
release, two can be in its name: there only the one that is all of it goes without its own. An alias and a release may have
characters that no Service has in its name.
*/}}
{{- define "allocation-gateway.fullname" -}}
{{- $name := include "allocation-gateway.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- $isAlias := ne .Chart.Name "allocation-gateway" -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if or (eq $name .Release.Name) (and (not $isAlias) (contains $name .Release.Name)) -}}
{{- $full = .Release.Name -}}
{{- end -}}
{{- $full = regexReplaceAll "[^-a-z0-9]" (lower $full) "-" -}}
{{- include "allocation-gateway.shortened" (dict "text" $full "length" 63) -}}
{{- end }}

{{- define "allocation-gateway.serviceAccountName" -}}
{{- $made := ternary (include "allocation-gateway.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end }}

{{/* The labels that never change: selectors are immutable. */}}
{{- define "allocation-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "allocation-gateway.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "allocation-gateway.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{ include "allocation-gateway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
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
{{- $text := include "allocation-gateway.fullname" .root -}}
{{- printf "%s-%s" (include "allocation-gateway.shortened" (dict "text" $text "length" $length)) .component -}}
{{- end }}

{{/* The labels by which that is selected. The gateway's own selectors must not find it, so it has a name of its own. */}}
{{- define "allocation-gateway.besideSelector" -}}
{{- $text := include "allocation-gateway.name" .root -}}
{{- $name := include "allocation-gateway.shortened" (dict "text" $text "length" (sub 62 (len .component) | int)) -}}
app.kubernetes.io/name: {{ printf "%s-%s" $name .component | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end }}

{{/* All of its labels, from a dict that may have `labels` of its own, too. */}}
{{- define "allocation-gateway.besideLabels" -}}
{{- $fixed := include "allocation-gateway.besideSelector" . | fromYaml -}}
{{- $component := dict "app.kubernetes.io/component" .component -}}
{{- $own := include "allocation-gateway.ownLabels" .root | fromYaml -}}
{{- toYaml (merge dict $fixed $component (default dict .labels) (default dict .root.Values.commonLabels) $own) -}}
{{- end }}

{{/* Its name, labels and annotations, from a dict that may have `annotations` of its own, too. */}}
{{- define "allocation-gateway.besideMetadata" -}}
name: {{ include "allocation-gateway.besideName" . | quote }}
labels:
  {{- include "allocation-gateway.besideLabels" . | nindent 2 }}
{{- with merge dict (default dict .annotations) (default dict .root.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Name, labels and annotations of an object, from a dict of `root` and, where needed, `name`, `labels`, `annotations`. */}}
{{- define "allocation-gateway.metadata" -}}
name: {{ default (include "allocation-gateway.fullname" .root) .name | quote }}
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

{{/* The annotation in which a pod has that. */}}
{{- define "allocation-gateway.configAnnotation" -}}
allocation-gateway/config.toml
{{- end }}

{{/*
The annotations of a pod, from a dict of `root` and `annotations`. Its configuration is one of them: so each pod has its own,
which nothing changes, and new text means new pods. In a ConfigMap, which old and new pods share, a bad text would also be read
by an old pod that is started again.
*/}}
{{- define "allocation-gateway.podAnnotations" -}}
{{- $text := include "allocation-gateway.config" .root | trim | printf "%s\n" -}}
{{- toYaml (merge (dict (include "allocation-gateway.configAnnotation" .root) $text) (default dict .annotations)) -}}
{{- end }}

{{/*
How many pods run of a release whose autoscaler was switched on later, and nothing otherwise. A number that is gone from the
Deployment would count as 1 until the autoscaler has had a look. So it stays there, as it is at the time of each upgrade: an
annotation remembers that.
*/}}
{{- define "allocation-gateway.followed" -}}
{{- if .Values.autoscaling.enabled -}}
{{- $name := include "allocation-gateway.fullname" . -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace $name -}}
{{- if $live -}}
{{- $scaler := lookup "autoscaling/v2" "HorizontalPodAutoscaler" .Release.Namespace $name -}}
{{- if or (not $scaler) (hasKey (default dict $live.metadata.annotations) "allocation-gateway/replicas") -}}
{{- max (int $live.spec.replicas) (int .Values.autoscaling.minReplicas) -}}
{{- end -}}
{{- end -}}
{{- end -}}
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

{{/*
The settings that `extraEnv` holds, by their names as in `settings`, with whether each is taken from elsewhere, as JSON. The
gateway reads the names of its variables without regard to case.
*/}}
{{- define "allocation-gateway.given" -}}
{{- $given := dict -}}
{{- range .Values.extraEnv -}}
{{- if hasPrefix "ALLOCATION_GATEWAY_" .name -}}
{{- $_ := set $given (trimPrefix "ALLOCATION_GATEWAY_" .name | lower) (hasKey . "valueFrom") -}}
{{- end -}}
{{- end -}}
{{- toJson $given -}}
{{- end }}

{{/* The APIs whose keys are given, by a named Secret or by `extraEnv`, separated by blanks. The sandbox needs none. */}}
{{- define "allocation-gateway.apis" -}}
{{- $given := include "allocation-gateway.given" . | fromJson -}}
{{- $apis := list -}}
{{- range $api := list "consignments" "ship" -}}
{{- $key := printf "%s_api_key" $api -}}
{{- if or (index $.Values $api).apiKeySecret.name (hasKey $given $key) (hasKey $given (printf "%s_file" $key)) -}}
{{- $apis = append $apis $api -}}
{{- end -}}
{{- end -}}
{{- if not .Values.sandbox.enabled -}}
{{- join " " $apis -}}
{{- end -}}
{{- end }}

{{/* Whether the listener has TLS, as `true` or nothing. */}}
{{- define "allocation-gateway.hasTls" -}}
{{- if or .Values.tls.secretName (hasKey (include "allocation-gateway.given" . | fromJson) "tls_cert_file") -}}
true
{{- end -}}
{{- end }}

{{/* Whether callers need a certificate, in the same way. */}}
{{- define "allocation-gateway.isMutual" -}}
{{- if or .Values.tls.clientCA.secretName (hasKey (include "allocation-gateway.given" . | fromJson) "tls_client_ca_file") -}}
true
{{- end -}}
{{- end }}

{{/* Whether the URL of a server is given, from a dict of `root` and `name`, which is `store` or `cache`, in the same way. */}}
{{- define "allocation-gateway.hasServer" -}}
{{- $given := include "allocation-gateway.given" .root | fromJson -}}
{{- if or (index .root.Values .name).urlSecret.name (hasKey $given (printf "%s_url" .name)) -}}
true
{{- end -}}
{{- end }}

{{/*
Whether `helm test` can call: where TLS is mutual it needs a certificate of its own, and where the listener's certificate comes
from no Secret, the authority to trust.
*/}}
{{- define "allocation-gateway.isTested" -}}
{{- $tests := .Values.tests -}}
{{- $isKnown := or (not (include "allocation-gateway.isMutual" .)) $tests.clientCertificateSecret.name -}}
{{- $knows := or (not (include "allocation-gateway.hasTls" .)) .Values.tls.secretName $tests.caSecret.name -}}
{{- if and $isKnown $knows -}}
true
{{- end -}}
{{- end }}

{{/*
Whether `helm test` may make the documented allocation: in the sandbox, unless callers must say who they are, that rpc is
switched off, or its service group may be unknown.
*/}}
{{- define "allocation-gateway.mayAllocate" -}}
{{- $settings := .Values.settings -}}
{{- $given := include "allocation-gateway.given" . | fromJson -}}
{{- $identified := or $settings.jwks_url $settings.jwks_file $settings.policy_file (hasKey $given "jwks_url") -}}
{{- $off := has "AllocateShipmentWithServiceGroup" (default list $settings.ship_disabled_operations) -}}
{{- $unknown := and (eq (default "" $settings.service_group_policy) "strict") .Values.serviceGroups.catalogue.configMapName -}}
{{- if and .Values.sandbox.enabled (not (or $identified $off $unknown)) -}}
true
{{- end -}}
{{- end }}
