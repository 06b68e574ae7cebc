"""`trialign compare`: a grid of algorithms x seeds x regimes, and the report that compares them."""
