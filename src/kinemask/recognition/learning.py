"""Fitting a recogniser on a store's labelled clips, and saying how good it is on those held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinemask.recognition.arrays import store_recordings
from kinemask.recognition.assessment import Assessment, Fold, assess, assess_on, clip_folds, group_folds
from kinemask.recognition.fitting import can_tell
from kinemask.recognition.labels import Labelled
from kinemask.recognition.pretraining import seen_before
from kinemask.recognition.recogniser import Recogniser
from kinemask.recognition.tuning import Tuning
from kinemask.windows.tracks import Tracks


def learn(recogniser: Recogniser, labelled: Labelled, tuning: Tuning | None = None) -> Assessment | None:
    """Fit on every training clip; the assessment is None where too few clips leave nothing to hold out.

    With a split, its test part is held out. Else each clip is scored by a recogniser that was chosen and fitted without
    its person, or without the clip where people are not known; labels are spread to other people's clips alone. tuning:
    of the recogniser's encoder, if that is wanted.
    """
    store, classes = labelled.store, labelled.classes
    numbers, every = labelled.numbers(labelled.train), np.concatenate([labelled.train, labelled.unlabelled])
    known = np.concatenate([numbers, np.full(len(labelled.unlabelled), -1)])
    bank = recogniser.make_bank(store, every, known, labelled.groups)
    people = labelled.people
    folds = clip_folds(numbers, labelled.together) if people is None else group_folds(people)
    tuned = None
    if tuning is not None and folds and can_tell(bank, np.arange(len(bank))):
        tuned = tuning.over(labelled, folds)
    elif tuning is not None:
        tuning.say("too few clips of a class to see by those left out whether fine-tuning helps: it is left alone")
    recogniser.fit_bank(bank, np.array(classes), store.lengths[labelled.train], tuned)
    seen = lambda clips: "" if bank.encoder is None else seen_before(bank.encoder, store, clips)
    if labelled.split is not None:
        found = recogniser.predict_proba([store.clip(int(i)) for i in labelled.test])
        tracks = Tracks(store_recordings(store, labelled.test), None, bank.tracks.device)
        by = f"the test part of split {labelled.split}"
        assessed = assess_on(bank, found, tracks, labelled.numbers(labelled.test), classes, by)
        return replace(assessed, note=seen(labelled.test))
    if not folds:
        return None
    by = "clips held out" if people is None else f"people held out ({len(set(people.tolist()))} people)"
    folds = [Fold(np.concatenate([fold.train, labelled.apart_from(fold.test)]), fold.test) for fold in folds]
    assessed = assess(bank, folds, classes, recogniser.asked(), by, tuned)
    return replace(assessed, note=seen(labelled.train))
