{{/* Refuses what a schema cannot: values that need, exclude or bound each other. Everything is told at once. */}}
{{- define "allocation-gateway.validate" -}}
{{- $required := include "allocation-gateway.missing" . | splitList "\n" | compact -}}
{{- $problems := $required -}}
{{- range $part := list "excluded" "wrongService" "wrongSettings" "wrongEnvironment" "undrainable" "wrongTimes" "wrongExtras" "tooLong" -}}
{{- $problems = concat $problems (include (printf "allocation-gateway.%s" $part) $ | splitList "\n" | compact) -}}
{{- end -}}
{{- if $problems -}}
{{- $told := ternary (first $problems) (printf "\n  - %s" (join "\n  - " $problems)) (eq (len $problems) 1) -}}
{{- if $required -}}
{{- $told = printf "%s\n\n%s" $told (include "allocation-gateway.smallest" .) -}}
{{- end -}}
{{- fail $told -}}
{{- end -}}
{{- end }}

{{- define "allocation-gateway.smallest" -}}
The smallest values that work, with the commands that make their Secrets:

# kubectl create secret generic ship --from-file=api-key=<file with the key>
ship:
  apiKeySecret:
    name: ship
# kubectl create secret tls allocation-gateway-tls --cert=<chain.pem> --key=<key.pem>
tls:
  secretName: allocation-gateway-tls
# kubectl create secret generic store --from-literal=url=rediss://user:password@host:6379/0
store:
  urlSecret:
    name: store

Or, to try it without any of them:

sandbox:
  enabled: true
{{- end }}

{{/* What is required and not there, as lines. So are all that follow. */}}
{{- define "allocation-gateway.missing" -}}
{{- if not (or .Values.sandbox.enabled (include "allocation-gateway.apis" .) .Values.settings.accounts_file) }}
ship.apiKeySecret.name: is required: name an existing Secret with the key of the Ship API, or one in consignments.apiKeySecret.name, or set settings.accounts_file or sandbox.enabled
{{- end }}
{{- if not (or (include "allocation-gateway.hasTls" .) .Values.sandbox.enabled .Values.settings.allow_plaintext) }}
tls.secretName: is required: name an existing Secret, or accept plaintext with settings.allow_plaintext=true
{{- end }}
{{- if not (or (include "allocation-gateway.hasServer" (dict "root" . "name" "store")) .Values.sandbox.enabled .Values.settings.allow_unshared_claims) }}
{{- if gt (include "allocation-gateway.pods" . | int) 1 }}
store.urlSecret.name: is required with more than one pod: name an existing Secret with the URL of the store, or set replicaCount=1, or accept that pods do not know of each other's writes with settings.allow_unshared_claims=true
{{- else if gt (include "allocation-gateway.number" (dict "root" . "name" "workers") | int) 1 }}
store.urlSecret.name: is required with settings.workers above 1: name an existing Secret with the URL of the store, or accept that processes do not know of each other's writes with settings.allow_unshared_claims=true
{{- end }}
{{- end }}
{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) }}
grpcRoute.parentRefs: is required: name the Gateway that the route belongs to
{{- end }}
{{- end }}

{{- define "allocation-gateway.excluded" -}}
{{- if not .Values.enabled }}
enabled: is false, which only the condition of an umbrella chart's dependency can heed
{{- end }}
{{- if and .Values.tls.clientCA.secretName (not (include "allocation-gateway.hasTls" .)) }}
tls.clientCA.secretName: needs tls.secretName
{{- end }}
{{- $metrics := .Values.metrics }}
{{- range $monitor := list "serviceMonitor" "podMonitor" }}
{{- if and (get $metrics $monitor).enabled (not $metrics.prometheus.enabled) }}
metrics.{{ $monitor }}.enabled: needs metrics.prometheus.enabled
{{- end }}
{{- end }}
{{- if and $metrics.serviceMonitor.enabled (not .Values.service.headless) }}
metrics.serviceMonitor.enabled: needs service.headless, whose Service has the port of the metrics
{{- end }}
{{- if and $metrics.prometheus.enabled (not (include "allocation-gateway.isScraped" .)) }}
metrics.prometheus.enabled: needs prometheus to be among the exporters of OTEL_METRICS_EXPORTER
{{- end }}
{{- if and $metrics.prometheus.enabled (gt (include "allocation-gateway.number" (dict "root" . "name" "workers") | int) 1) }}
metrics.prometheus.enabled: needs settings.workers to be 1: a scrape finds one of several processes
{{- end }}
{{- if and $metrics.prometheus.enabled (has (int $metrics.prometheus.port) (list 50051 50052)) }}
metrics.prometheus.port: must be neither 50051 nor 50052, at which pods take calls and tell their health
{{- end }}
{{- $scaling := .Values.autoscaling }}
{{- if $scaling.enabled }}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) }}
autoscaling.minReplicas: must be at most autoscaling.maxReplicas, {{ $scaling.maxReplicas }}, got {{ $scaling.minReplicas }}
{{- end }}
{{- if not (or $scaling.targetCPUUtilizationPercentage $scaling.targetCallsInHand $scaling.extraMetrics) }}
autoscaling.targetCPUUtilizationPercentage: is required, unless autoscaling.targetCallsInHand or autoscaling.extraMetrics is set
{{- end }}
{{- if and $scaling.targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" (default dict .Values.resources))) (not (dig "limits" "cpu" "" (default dict .Values.resources))) }}
autoscaling.targetCPUUtilizationPercentage: needs resources.requests.cpu, of which it is a share
{{- end }}
{{- end }}
{{- $strategy := default dict .Values.strategy }}
{{- $rolling := default dict $strategy.rollingUpdate }}
{{- if and (ne (default "" $strategy.type) "Recreate") (hasKey $rolling "maxSurge") (hasKey $rolling "maxUnavailable") (eq (toString $rolling.maxSurge | trimSuffix "%") "0") (eq (toString $rolling.maxUnavailable | trimSuffix "%") "0") }}
strategy.rollingUpdate: maxSurge and maxUnavailable are both 0, so that no pod could ever be replaced
{{- end }}
{{- end }}

{{/* Fields that Kubernetes refuses with other types of Service. */}}
{{- define "allocation-gateway.wrongService" -}}
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
{{- range $field, $fitting := $types }}
{{- $value := get $service $field }}
{{- if and (or $value (kindIs "bool" $value)) (not (has $service.type $fitting)) }}
service.{{ $field }}: needs service.type {{ join " or " $fitting }}
{{- end }}
{{- end }}
{{- if eq $service.clusterIP "None" }}
{{- if ne $service.type "ClusterIP" }}
service.clusterIP: must not be None with service.type {{ $service.type }}
{{- else if ne (int $service.port) 50051 }}
service.clusterIP: None needs service.port to be 50051, since clients then connect to pods themselves. service.headless makes such a Service beside this one
{{- end }}
{{- end }}
{{- $fullname := include "allocation-gateway.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) }}
fullnameOverride: is required here, since no Service can be called {{ $fullname }}: a name begins with a letter, and ends with a letter or a digit
{{- end }}
{{- if and $service.sessionAffinityConfig (ne $service.sessionAffinity "ClientIP") }}
service.sessionAffinityConfig: needs service.sessionAffinity ClientIP
{{- end }}
{{- end }}

{{/* A number among the settings: what is set, or the gateway's default. */}}
{{- define "allocation-gateway.number" -}}
{{- $given := get .root.Values.settings .name -}}
{{- if and (hasKey .root.Values.settings .name) (not (kindIs "invalid" $given)) -}}
{{- toJson $given -}}
{{- else -}}
{{- get (include "allocation-gateway.rules" . | fromJson).defaults .name | toJson -}}
{{- end -}}
{{- end }}

{{/* Rules of the gateway that need two settings, or a better text than the schema's. */}}
{{- define "allocation-gateway.wrongSettings" -}}
{{- $settings := .Values.settings -}}
{{- range $name, $told := (include "allocation-gateway.rules" . | fromJson).positive }}
{{- $value := get $settings $name }}
{{- if kindIs "map" $value }}
{{- range $operation, $each := $value }}
{{- if eq (float64 $each) 0.0 }}
settings.{{ $name }}.{{ $operation }}: {{ $told }}
{{- end }}
{{- end }}
{{- else if and (hasKey $settings $name) (not (kindIs "invalid" $value)) (eq (float64 $value) 0.0) }}
settings.{{ $name }}: {{ $told }}
{{- end }}
{{- end }}
{{- range $api := list "ship" "consignments" }}
{{- $timeout := include "allocation-gateway.number" (dict "root" $ "name" (printf "%s_timeout" $api)) }}
{{- $settle := printf "%s_settle_time" $api }}
{{- if lt (include "allocation-gateway.number" (dict "root" $ "name" $settle) | float64) (float64 $timeout) }}
settings.{{ $settle }}: must be at least settings.{{ $api }}_timeout, {{ $timeout }}
{{- end }}
{{- range $operation, $seconds := default dict (get $settings (printf "%ss" $settle)) }}
{{- if lt (float64 $seconds) (float64 $timeout) }}
settings.{{ $settle }}s.{{ $operation }}: must be at least settings.{{ $api }}_timeout, {{ $timeout }}
{{- end }}
{{- end }}
{{- $writes := include "allocation-gateway.number" (dict "root" $ "name" (printf "%s_max_in_flight" $api)) | int }}
{{- $connections := include "allocation-gateway.number" (dict "root" $ "name" (printf "%s_max_connections" $api)) | int }}
{{- $all := add $writes (max (div $writes 8) 1) | int }}
{{- if and $writes (gt $all $connections) }}
settings.{{ $api }}_max_in_flight: needs settings.{{ $api }}_max_connections to be {{ $all }} or more
{{- end }}
{{- $url := default "" (get $settings (printf "%s_base_url" $api)) }}
{{- $isHere := regexMatch "^http://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:[0-9]+)?(/|$)" (lower $url) }}
{{- if and (hasPrefix "http://" (lower $url)) (not $isHere) (not $settings.allow_plaintext) (not $.Values.sandbox.enabled) }}
settings.{{ $api }}_base_url: would send the key unencrypted, unless settings.allow_plaintext=true accepts it
{{- end }}
{{- end }}
{{- end }}

{{/* Variables that the gateway would refuse, and those that are there twice, which Kubernetes refuses. */}}
{{- define "allocation-gateway.wrongEnvironment" -}}
{{- $rules := include "allocation-gateway.rules" . | fromJson -}}
{{- range .Values.extraEnv }}
{{- $isTaken := hasKey . "valueFrom" }}
{{- $text := toString (default "" .value) }}
{{- if hasPrefix "ALLOCATION_GATEWAY_" .name }}
{{- $setting := trimPrefix "ALLOCATION_GATEWAY_" .name | lower }}
{{- if not (has $setting $rules.names) }}
extraEnv: {{ .name }}: there is no such setting
{{- else if and (eq $setting "jwks_url") $isTaken }}
{{- /* The only setting that may be a secret in part. */}}
{{- else if has $setting $rules.decided }}
extraEnv: {{ .name }}: is for the chart to set
{{- else if not (has $setting $rules.given) }}
extraEnv: {{ .name }}: must be set as settings.{{ $setting }}, from which the chart takes what else it has to do
{{- else if and (not $isTaken) (or (hasSuffix "_api_key" $setting) (regexMatch "://[^/?#@]*:[^/?#@]+@|[?&](sentinel_|ssl_)?password=" $text)) }}
extraEnv: {{ .name }}: has a secret, which no value may hold: take it from a Secret by valueFrom
{{- end }}
{{- else if and (not $isTaken) (regexMatch "^OTEL_EXPORTER_OTLP_([A-Z]+_)?HEADERS$" .name) }}
extraEnv: {{ .name }}: may have a secret, which no value may hold: take it from a Secret by valueFrom
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.otel }}
{{- if regexMatch "^OTEL_EXPORTER_OTLP_([A-Z]+_)?HEADERS$" $name }}
otel.{{ $name }}: may have a secret, which no value may hold: take it from a Secret by valueFrom in extraEnv
{{- end }}
{{- end }}
{{- if regexMatch "[?]|://[^/]*@" (default "" .Values.settings.jwks_url) }}
settings.jwks_url: may have a secret, which no value may hold: take ALLOCATION_GATEWAY_JWKS_URL from a Secret by valueFrom in extraEnv
{{- end }}
{{- $names := list }}
{{- range include "allocation-gateway.env" . | fromYamlArray }}
{{- $name := .name }}
{{- if hasPrefix "ALLOCATION_GATEWAY_" $name }}
{{- $name = upper $name }}
{{- end }}
{{- if has $name $names }}
extraEnv: {{ .name }}: is set already, by the chart itself or by another value
{{- end }}
{{- $names = append $names $name }}
{{- end }}
{{- if and (hasKey (include "allocation-gateway.given" . | fromJson) "jwks_url") .Values.settings.jwks_url }}
extraEnv: ALLOCATION_GATEWAY_JWKS_URL: is set already, as settings.jwks_url
{{- end }}
{{- end }}

{{/* Budgets that let no pod go: every drain of a node would wait for ever. */}}
{{- define "allocation-gateway.undrainable" -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- $hasLeast := not (kindIs "invalid" $budget.minAvailable) -}}
{{- $hasMost := not (kindIs "invalid" $budget.maxUnavailable) -}}
{{- $pods := ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled | int -}}
{{- if and $hasLeast $hasMost }}
podDisruptionBudget.minAvailable: must not be set together with podDisruptionBudget.maxUnavailable: remove one
{{- else if and $budget.enabled $hasMost (eq (toString $budget.maxUnavailable | trimSuffix "%") "0") }}
podDisruptionBudget.maxUnavailable: lets no pod go, so that no node could ever be drained
{{- else if and $budget.enabled $hasLeast $pods }}
{{- $least := toString $budget.minAvailable }}
{{- $stay := int $least }}
{{- if hasSuffix "%" $least }}
{{- $stay = divf (mulf (trimSuffix "%" $least | float64) $pods) 100.0 | ceil | int }}
{{- end }}
{{- if ge $stay $pods }}
podDisruptionBudget.minAvailable: lets none of {{ ternary "autoscaling.minReplicas" "replicaCount" .Values.autoscaling.enabled }}={{ $pods }} pods go, so that no node could ever be drained
{{- end }}
{{- end }}
{{- end }}

{{- define "allocation-gateway.wrongTimes" -}}
{{- $needed := include "allocation-gateway.shutdownSeconds" . | int -}}
{{- $grace := .Values.terminationGracePeriodSeconds -}}
{{- if $grace }}
{{- if le (int $grace) $needed }}
terminationGracePeriodSeconds: must be more than the {{ $needed }} seconds that the settings of the shutdown and lifecycle.preStop.sleep add up to
{{- end }}
{{- else if or (dig "preStop" "exec" "" (default dict .Values.lifecycle)) (dig "preStop" "httpGet" "" (default dict .Values.lifecycle)) }}
terminationGracePeriodSeconds: is required with this lifecycle.preStop, whose time only you know: it must be more than that and {{ $needed }} seconds
{{- end }}
{{- $ready := int .Values.minReadySeconds }}
{{- $deadline := .Values.progressDeadlineSeconds }}
{{- if le (ternary 600 (int $deadline) (kindIs "invalid" $deadline)) $ready }}
progressDeadlineSeconds: must be more than minReadySeconds, {{ $ready }}
{{- end }}
{{- end }}

{{/* What Kubernetes has no room for. */}}
{{- define "allocation-gateway.tooLong" -}}
{{- $length := 0 -}}
{{- range $name, $text := include "allocation-gateway.podAnnotations" (dict "root" . "annotations" .Values.podAnnotations) | fromYaml }}
{{- $length = add $length (len $name) (len $text) }}
{{- end }}
{{- /* 256 KiB are for all annotations of a pod, and others make some too. */}}
{{- if gt (int $length) 245760 }}
settings: have {{ $length }} bytes, with podAnnotations, and pods can take 245760
{{- end }}
{{- end }}

{{/* What is added to pods and clashes with what they have. */}}
{{- define "allocation-gateway.wrongExtras" -}}
{{- $volumes := list -}}
{{- range include "allocation-gateway.volumes" . | fromYamlArray }}
{{- if has .name $volumes }}
extraVolumes: there is a volume {{ .name }} already
{{- end }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- $paths := list }}
{{- range include "allocation-gateway.volumeMounts" . | fromYamlArray }}
{{- if has .mountPath $paths }}
extraVolumeMounts: something is mounted at {{ .mountPath }} already
{{- end }}
{{- if not (has .name $volumes) }}
extraVolumeMounts: there is no volume {{ .name }} among extraVolumes
{{- end }}
{{- $paths = append $paths .mountPath }}
{{- end }}
{{- $names := list "allocation-gateway" }}
{{- range concat (default list .Values.initContainers) (default list .Values.extraContainers) }}
{{- if has .name $names }}
extraContainers: there is a container {{ .name }} already
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}
