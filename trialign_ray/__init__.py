"""Truth-invariant alignment of personalized language models, by offline multi-agent reinforcement learning."""
