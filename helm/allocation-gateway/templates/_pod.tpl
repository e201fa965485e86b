{{/* Where a pod has its files. */}}
{{- define "allocation-gateway.files" -}}
/etc/allocation-gateway
{{- end }}

{{/* The Secrets with the keys of the APIs that are served, by the names of these, as a YAML map. */}}
{{- define "allocation-gateway.keys" -}}
{{- $keys := dict -}}
{{- range $name := list "ship" "consignments" -}}
{{- $secret := (index $.Values $name).apiKeySecret -}}
{{- if and $secret.name (not $.Values.sandbox.enabled) -}}
{{- $_ := set $keys $name $secret -}}
{{- end -}}
{{- end -}}
{{- toYaml $keys -}}
{{- end }}

{{/* The environment of the gateway. */}}
{{- define "allocation-gateway.env" -}}
{{- $files := include "allocation-gateway.files" . -}}
# What others may refer to goes first.
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- $after := list }}
{{- range .Values.extraEnv }}
{{- if hasKey . "valueFrom" }}
{{ toYaml (list .) }}
{{- else }}
{{- $after = append $after . }}
{{- end }}
{{- end }}
- name: ALLOCATION_GATEWAY_CONFIG_FILE
  value: {{ $files }}/config/config.toml
- name: ALLOCATION_GATEWAY_HOST
  value: {{ include "allocation-gateway.host" . | quote }}
- name: ALLOCATION_GATEWAY_PORT
  value: "50051"
- name: ALLOCATION_GATEWAY_HEALTH_PORT
  value: "50052"
{{- range $name, $secret := include "allocation-gateway.keys" . | fromYaml }}
- name: ALLOCATION_GATEWAY_{{ upper $name }}_API_KEY_FILE
  value: {{ printf "%s/%s/%s" $files $name $secret.key | quote }}
{{- end }}
{{- if .Values.tls.secretName }}
- name: ALLOCATION_GATEWAY_TLS_CERT_FILE
  value: {{ printf "%s/tls/%s" $files .Values.tls.certKey | quote }}
- name: ALLOCATION_GATEWAY_TLS_KEY_FILE
  value: {{ printf "%s/tls/%s" $files .Values.tls.keyKey | quote }}
{{- end }}
{{- if .Values.tls.clientCA.secretName }}
- name: ALLOCATION_GATEWAY_TLS_CLIENT_CA_FILE
  value: {{ printf "%s/client-ca/%s" $files .Values.tls.clientCA.key | quote }}
{{- end }}
{{- if .Values.serviceGroups.catalogue.configMapName }}
- name: ALLOCATION_GATEWAY_SERVICE_GROUP_CATALOGUE_FILE
  value: {{ printf "%s/service-groups/%s" $files .Values.serviceGroups.catalogue.key | quote }}
{{- end }}
{{- range $name := list "cache" "store" }}
{{- with (index $.Values $name).urlSecret }}
{{- if .name }}
- name: ALLOCATION_GATEWAY_{{ upper $name }}_URL
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- end }}
- name: ALLOCATION_GATEWAY_REPLICAS
  value: {{ include "allocation-gateway.pods" . | quote }}
{{- if and .Values.sandbox.enabled (not (include "allocation-gateway.hasServer" (dict "root" . "name" "store"))) }}
# Nothing is booked in the sandbox.
- name: ALLOCATION_GATEWAY_ALLOW_UNSHARED_CLAIMS
  value: "true"
{{- end }}
{{- range $name, $value := include "allocation-gateway.otelSet" . | fromJson }}
- name: {{ $name }}
  value: {{ $value | toJson }}
{{- end }}
{{- with $after }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The places of the chart's own files in the gateway's container. */}}
{{- define "allocation-gateway.volumeMounts" -}}
{{- $files := include "allocation-gateway.files" . -}}
- name: config
  mountPath: {{ $files }}/config
  readOnly: true
{{- range $name, $_ := include "allocation-gateway.keys" . | fromYaml }}
- name: {{ $name }}
  mountPath: {{ $files }}/{{ $name }}
  readOnly: true
{{- end }}
{{- if .Values.serviceGroups.catalogue.configMapName }}
# A folder, not a subPath: only that follows the ConfigMap.
- name: service-groups
  mountPath: {{ $files }}/service-groups
  readOnly: true
{{- end }}
{{- if .Values.tls.secretName }}
- name: tls
  mountPath: {{ $files }}/tls
  readOnly: true
{{- end }}
{{- if .Values.tls.clientCA.secretName }}
- name: client-ca
  mountPath: {{ $files }}/client-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The volumes. */}}
{{- define "allocation-gateway.volumes" -}}
- name: config
  downwardAPI:
    items:
      - path: config.toml
        fieldRef:
          fieldPath: metadata.annotations['{{ include "allocation-gateway.configAnnotation" . }}']
{{- range $name, $secret := include "allocation-gateway.keys" . | fromYaml }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret.name | quote }}
    defaultMode: 0440
    items:
      - key: {{ $secret.key | quote }}
        path: {{ $secret.key | quote }}
{{- end }}
{{- with .Values.serviceGroups.catalogue }}
{{- if .configMapName }}
- name: service-groups
  configMap:
    name: {{ .configMapName | quote }}
    items:
      - key: {{ .key | quote }}
        path: {{ .key | quote }}
{{- end }}
{{- end }}
{{- with .Values.tls }}
{{- if .secretName }}
- name: tls
  secret:
    secretName: {{ .secretName | quote }}
    defaultMode: 0440
    items:
      - key: {{ .certKey | quote }}
        path: {{ .certKey | quote }}
      - key: {{ .keyKey | quote }}
        path: {{ .keyKey | quote }}
{{- end }}
{{- if .clientCA.secretName }}
- name: client-ca
  secret:
    secretName: {{ .clientCA.secretName | quote }}
    defaultMode: 0440
    items:
      - key: {{ .clientCA.key | quote }}
        path: {{ .clientCA.key | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where pods may run and find names: the same for those of the gateway and those beside it. */}}
{{- define "allocation-gateway.placement" -}}
{{- range $field := list "priorityClassName" "runtimeClassName" "schedulerName" "dnsPolicy" }}
{{- with get $.Values $field }}
{{ $field }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- range $field := list "dnsConfig" "hostAliases" "nodeSelector" "tolerations" "affinity" }}
{{- with get $.Values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "allocation-gateway.imagePullSecrets" . }}
{{ . }}
{{- end }}
{{- end }}

{{/* What every container of the gateway's image has. */}}
{{- define "allocation-gateway.containerBasics" -}}
image: {{ include "allocation-gateway.image" . | quote }}
{{ include "allocation-gateway.containerRights" . }}
{{- end }}

{{/* How any image is pulled, and what it may do. */}}
{{- define "allocation-gateway.containerRights" -}}
imagePullPolicy: {{ .Values.image.pullPolicy | quote }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* How pods spread: as said, or over nodes and zones as evenly as that can be had, counting each version by itself. */}}
{{- define "allocation-gateway.topologySpread" -}}
{{- if not (kindIs "invalid" .Values.topologySpreadConstraints) -}}
{{- with .Values.topologySpreadConstraints -}}
{{- toYaml . -}}
{{- end -}}
{{- else -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels:
      {{- include "allocation-gateway.selectorLabels" $ | nindent 6 }}
{{- end }}
{{- end -}}
{{- end }}
