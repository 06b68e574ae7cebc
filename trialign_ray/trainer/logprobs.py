"""Log-probs of chosen tokens from hidden states, without a [nodes x vocabulary] tensor and without a second pass.

With logits z = W h and p = softmax(z), d log p(y) / d h = W_y - sum_v p_v W_v. The forward already holds p, so it
keeps that row vector (as wide as h) for every node, and the backward is one product with the incoming gradient.
This needs a frozen W, as under LoRA: W gets no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 256
"""Nodes whose logits exist at one time."""


def token_logprobs(hidden_nd: Tensor, head_vd: Tensor, pair_node_p: Tensor, pair_token_p: Tensor) -> Tensor:
    """Log p(pair_token | node) for each pair, float32 [pairs].

    hidden_nd: final hidden states of the scored nodes. head_vd: the frozen output embedding.
    """
    logp_p: Tensor = _TokenLogprobs.apply(hidden_nd, head_vd, pair_node_p, pair_token_p)  # type: ignore[no-untyped-call]
    return logp_p


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_nd: Tensor, head_vd: Tensor, pair_node_p: Tensor, pair_token_p: Tensor) -> Tensor:
        logp_p = hidden_nd.new_empty(len(pair_node_p), dtype=torch.float32)
        expected_nd = torch.empty_like(hidden_nd)
        order = torch.argsort(pair_node_p)
        sorted_nodes = pair_node_p[order].contiguous()
        for start in range(0, len(hidden_nd), CHUNK):
            stop = min(start + CHUNK, len(hidden_nd))
            first, last = torch.searchsorted(sorted_nodes, torch.tensor([start, stop], device=order.device)).tolist()
            here = order[first:last]
            logp_cv = torch.log_softmax(hidden_nd[start:stop] @ head_vd.T, dim=-1, dtype=torch.float32)
            logp_p[here] = logp_cv[pair_node_p[here] - start, pair_token_p[here]]
            expected_nd[start:stop] = logp_cv.exp_().to(head_vd.dtype) @ head_vd
        ctx.save_for_backward(head_vd[pair_token_p] - expected_nd[pair_node_p], pair_node_p)
        ctx.nodes = len(hidden_nd)
        return logp_p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        slope_pd, pair_node_p = ctx.saved_tensors
        grad_nd = torch.zeros(ctx.nodes, slope_pd.shape[1], dtype=torch.float32, device=slope_pd.device)
        grad_nd.index_add_(0, pair_node_p, grads[0][:, None] * slope_pd.float())
        return grad_nd.to(slope_pd.dtype), None, None, None
