"""What the operator is known not to hold yet. The random runs leave these out; set one to False when it is closed."""

# A pin that changes `replicas` and the strategy at once, in the middle of a RollingUpdate (two active ReplicaSets):
# Kubernetes' Deployment controller then neither scales nor rolls out any more (sync.go: `scale` does nothing with
# several active ReplicaSets and Recreate, and a rollout waits for it). All the pods stay.
PIN_HANGS_A_ROLLOUT = True

# Releasing a Deployment, or `lock: None`, takes the lock out of the template. While the pod of an older unlocked
# ReplicaSet still stops, or under RollingUpdate, the pods that this rollout makes start beside it.
RELEASE_OVERLAPS = True

# A container that crashed, was reported so, and was restarted while its node was cut off counts as ended while the node
# counts as Ready: within 40 s of the cut, and between the first heartbeat and the first pod status after it.
READY_NODE_PROVES_TOO_MUCH = True
