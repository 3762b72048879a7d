{{- define "sync.name" -}}
{{- /* A release's name may have dots, the name of a service may not. */}}
{{- $release := .Release.Name | replace "." "-" }}
{{- if contains .Chart.Name $release }}{{ $release | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" $release .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- /* Labels that select pods: they never change within a release. */}}
{{- define "sync.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sync.labels" -}}
{{ include "sync.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* At most 32 characters: 23 of the name, and a hash, so that two names that begin alike do not share timers. */}}
{{- define "sync.hostId" -}}
{{- $hash := printf "%s/%s" .Release.Namespace .Release.Name | sha256sum | trunc 8 -}}
{{- $name := regexReplaceAll "[^a-z0-9]+" (lower .Release.Name) "-" | trunc 23 | trimSuffix "-" -}}
{{- .Values.hostId | default (printf "%s-%s" $name $hash) -}}
{{- end }}

{{- define "sync.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}{{ else }}{{ $image.repository }}:{{ $image.tag }}{{ end }}
{{- end }}

{{- /* What both deployments say of their pods. */}}
{{- define "sync.pod" -}}
serviceAccountName: {{ include "sync.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "sync.container" -}}
image: {{ include "sync.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
envFrom:
  - configMapRef: {name: {{ include "sync.name" . }}}
  {{- range .Values.settingsSecrets }}
  - secretRef: {name: {{ . }}}
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
