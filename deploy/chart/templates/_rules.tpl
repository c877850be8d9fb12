{{/* What the operator does to the bots of a namespace: of all of them in a ClusterRole, else of one in a Role. */}}
{{- define "operator.rules" -}}
- apiGroups: [singleton.bot]
  resources: [telegrambots]
  verbs: [get, list, watch]
- apiGroups: [singleton.bot]
  resources: [telegrambots/status]
  verbs: [patch]
# Where OwnerReferencesPermissionEnforcement is on, an owned Deployment's ownerReference needs this.
- apiGroups: [singleton.bot]
  resources: [telegrambots/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list, patch]
# After a 409 that nothing known explains, all pods are listed: who else has the bot's token?
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- if .Values.secretAccess }}
# Only the Secrets that TelegramBots name: for the bot id before the colon, and to ask Telegram. All else works without.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
# The lock tables that the admission policies read.
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [singleton-bot-locks]
  verbs: [list, watch, create, patch]
# An autoscaler on a bot's Deployment is named, not touched.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* What belongs to no namespace. */}}
{{- define "operator.clusterRules" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
# Whether the admission policies are installed.
- apiGroups: [admissionregistration.k8s.io]
  resources: [mutatingadmissionpolicies, mutatingadmissionpolicybindings]
  resourceNames: [lock.singleton.bot, pin.singleton.bot]
  verbs: [get]
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingadmissionpolicies, validatingadmissionpolicybindings]
  resourceNames: [scale.singleton.bot, token.singleton.bot]
  verbs: [get]
{{- end -}}

{{/* What `release --all` does to them. */}}
{{- define "operator.releaseRules" -}}
- apiGroups: [singleton.bot]
  resources: [telegrambots]
  verbs: [list]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, patch]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [singleton-bot-locks]
  verbs: [get, patch]
{{- end -}}
