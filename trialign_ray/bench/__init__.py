"""Question sets for audits and training, made or loaded at run time: `trialign bench list`.

A family is one module that gives facts with their subjects; `sets` names what they are put together to.
"""
