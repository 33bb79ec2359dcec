"""What a candidate needs of the user's program, as text and plain data that go in, and what comes back.

`scope` puts it together for one candidate. Each file knows those before it: `values` turns data into forms and
forms into data; `watched` sees which data has another value by now; `modules` has of each module what is used of
it; `sources` tells how each part of the program is made inside, a class or a function by its source; `chains` makes
classes of those members alone that are used, for objects whose classes have no such source or are too much to take
along; `receivers` writes such objects: what a method is called on, and what is like it in there. Beside them,
`remaking` makes exceptions again, `seeds` hands on chance, and `advice` is what is said of things that cannot
enter.
"""
