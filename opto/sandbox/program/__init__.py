"""The user's program, as its text tells of it: what functions and classes are, use, and leave behind.

`written` and `states` say what objects are and hold, `texts` where their source is, `names` what a text speaks of,
`uses` what a method's text uses of its object, and `losses` what it changes; `rewritten` is how others say that a
function has another text now. Nothing here knows of processes, or of what crosses to them.
"""
