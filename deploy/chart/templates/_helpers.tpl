{{- define "operator.fullname" -}}
{{- $base := .Values.fullnameOverride | default (contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name)) -}}
{{- $base | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Of what belongs to no namespace, or to one that others use too: with names of namespaces there may be several. */}}
{{- define "operator.sharedName" -}}
{{- include "operator.fullname" . -}}{{- if .Values.namespaces -}}-{{ .Release.Namespace }}{{- end -}}
{{- end -}}

{{- define "operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "operator.fullname" .) -}}
{{- end -}}

{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "operator.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
{{- end -}}

{{- define "operator.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "operator.electionNamespace" -}}
{{- .Values.leaderElection.namespace | default (empty .Values.namespaces | ternary "kube-system" .Release.Namespace) -}}
{{- end -}}

{{- define "operator.subject" -}}
- kind: ServiceAccount
  name: {{ include "operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "operator.releaseName" -}}
{{ include "operator.fullname" . }}-release
{{- end -}}

{{- define "operator.releaseSubject" -}}
- kind: ServiceAccount
  name: {{ include "operator.releaseName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What Pod Security `restricted` asks of a pod, and of a container. */}}
{{- define "operator.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}
{{- define "operator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "operator.environment" -}}
- name: OPERATOR_NAMESPACE
  valueFrom:
    # With its default: who applies less than another manager did, meets a conflict.
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.namespace
{{- with .Values.telegramApiUrl }}
- name: TELEGRAM_API_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "operator.scheduling" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "operator.check" -}}
{{- if and .Values.admissionPolicy .Values.namespaces (not .Values.clusterReads) -}}
{{- fail "\n\nadmissionPolicy: the policies belong to no namespace, and the operator has to see them: with `namespaces` set clusterReads to true as well, or admissionPolicy to false.\n" -}}
{{- end -}}
{{- if and .Values.admissionPolicy (semverCompare "<1.36.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "\n\nadmissionPolicy: this needs Kubernetes 1.36 or newer, and the cluster is %s: set it to false.\n" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and .Values.clusterReads (not .Values.namespaces) -}}
{{- fail "\n\nclusterReads: without `namespaces` the operator's ClusterRole has these rights anyway: leave it out, or name namespaces.\n" -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "\n\nserviceAccount.name: name the one that exists, or set serviceAccount.create to true.\n" -}}
{{- end -}}
{{- if contains "/bot" .Values.telegramApiUrl -}}
{{- fail "\n\ntelegramApiUrl: this is the address of a call, with a token in it; give the base of the Bot API, such as https://api.telegram.org.\n" -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if has .name (list "OPERATOR_NAMESPACE" "TELEGRAM_API_URL") -}}
{{- fail (printf "\n\nextraEnv: %s is set by the chart; leave it out, and use telegramApiUrl for the Bot API.\n" .name) -}}
{{- end -}}
{{- if and (hasKey . "value") (hasKey . "valueFrom") -}}
{{- fail (printf "\n\nextraEnv: %s has both value and valueFrom; leave one out.\n" .name) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.image.tag "latest") (eq .Values.image.pullPolicy "IfNotPresent") (not .Values.image.digest) -}}
{{- fail "\n\nimage.tag: with latest and pullPolicy IfNotPresent each node may run another version: name a version or a digest.\n" -}}
{{- end -}}
{{- end -}}

{{/* With the weight as argument. A failed Job stays, for its log; all else goes when it is done, and at the next try. */}}
{{- define "operator.releaseHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
