"""What logged responses say of another policy: importance sampling with gates, and bounds by logged mass.

The target is the policy sampled as the logs were. Greedy answers are another policy, which sampled logs do not
identify, so no figure from here stands beside those of a greedy audit.
"""
