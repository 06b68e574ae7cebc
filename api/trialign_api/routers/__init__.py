"""The routes, in the order in which the document has them."""

from trialign_api.routers import datasets, files, fine_tuning, history, jobs, system, uploads

ROUTERS = tuple(module.router for module in (jobs, history, datasets, files, uploads, fine_tuning, system))
