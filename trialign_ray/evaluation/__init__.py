"""Measure which groups get true answers: metrics, the report as data, table and page, and gates for CI."""
