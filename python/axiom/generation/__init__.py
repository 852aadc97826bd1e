"""From a prompt to a completion: what may be asked, how the text comes about and where it ends, and what is returned.

sampling       how tokens are chosen
request        what may be asked of a generation, checked
stopping       where a text stops
speculation    guesses of how a text goes on
receipt        what lets anyone compute a generation again
completion     what a generation returns
shared_engine  one engine, for many threads
generation     one prompt on its way to a completion
loop           many generations through one engine, together
stream         a text as it comes
"""
