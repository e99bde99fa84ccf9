"""Human evaluation: people rate what systems answered to the same test examples, blind, on a page of their own.

A *system* is one arm of one run, trained with one seed. A *session* holds what is asked and what was answered; it is
one SQLite file in the folder of the first run.

    systems    answers and automatic scores of an arm, from a run's folder
    test_set   the examples of the test split, loaded again
    items      which examples are shown, with attention checks among them
    database   the session: items, and every rating at once
    answers    what a valid rating is, for the server and for files that are imported
    page       the page, for the server and as one file without a server
    server     Starlette on loopback
    exports    Label Studio, Potato, and files of answers that come back
    agreement  Krippendorff's α, Cohen's κ, Bradley–Terry
    ratings    the ratings as arrays, and what each rater did
    figures    what a report says, as plain data; `disagreements` finds items, `show` prints and makes the HTML page
"""
