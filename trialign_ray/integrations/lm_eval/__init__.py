r"""The audit as a task of the lm-evaluation-harness, for every model that it can run.

    lm_eval --include_path "$(python -m trialign_ray.integrations.lm_eval)" --tasks truth_invariance \
        --model hf --model_args pretrained=MODEL --apply_chat_template \
        --metadata '{"questions": "questions.yaml", "groups": "groups.yaml"}'

The harness has no entry points for aggregations, so the task names its functions by import path.
"""
