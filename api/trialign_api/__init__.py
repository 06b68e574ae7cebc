"""The control plane: a durable, typed HTTP service that submits, watches and stops jobs on a Ray cluster.

routers -> services -> store -> backend. `create_app(settings)` in `trialign_api.app` builds it.
"""
