"""The file of a study, study.sqlite, for people who read it themselves.

The file can be read while a search writes it (WAL):
`pandas.read_sql("select * from trials", sqlite3.connect(file))`.

Tables, format 3; each has a column checksum, over the other values of its row:

    study    name, value            properties of the study: JSON by name; `proposer` is its state
    trials   id                     counted from 0, in the order they were asked for
             key                    the proposer's name for it
             state                  waiting (asked for, not started), running, completed, failed,
                                    pruned
             score                  of the objective; null without one
             params                 JSON: the values of the active parameters
             epochs, parent, rung   set by the proposer: see search.proposers.Proposal
             seed                   of the trial's random numbers
             attempts               how often it was started
             started, ended         seconds since 1970
             metrics                JSON: all other metrics
             error                  why it failed, with a traceback
             asked, told            when it was asked for, and when it ended: its places among all
                                    asks and ends of the study
             memo                   JSON: what the proposer wants to know of it later, or null
             outcome                JSON: what the proposer was told besides the score, or null
    folds    trial, fold, execution one fit of the trial: split `fold`, repetition `execution`
             score, metrics         of that fit
             fit_seconds, score_seconds
    epochs   trial, fold, execution, epoch, metrics
                                    one row per epoch of a Trainer's fit, counted from 1

Format 1, of version 0.1.0, had no checksums, and formats 1 and 2 lacked asked, told, memo and
outcome; opening such a study converts it to format 3, where these are null for older trials. Among
the study's values, `identity` marks what belongs to it in its directory, `holder` is the search
that opened it last, and `sums` holds the number of rows and the sum of checksums of each table.
"""

from search.study.storage import FORMAT, NAME, Store, Trial

__all__ = ["FORMAT", "NAME", "Store", "Trial"]
