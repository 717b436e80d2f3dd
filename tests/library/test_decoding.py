import os
import signal
from pathlib import Path

import pytest
import torch
from helpers.photos import noisy_photo

from landmark_models import LandmarkClassifier
from landmark_models.files import Entry
from landmark_models.library.decoding import Decoders


@pytest.fixture
def classifier(run):
    return LandmarkClassifier.load(run.path)


@pytest.fixture
def entries(tmp_path):
    files = [tmp_path / f"{index:02}.jpg" for index in range(40)]
    for index, file in enumerate(files):
        noisy_photo((200, 40, 40), index, (640, 480)).save(file)
    return [Entry(str(file)) for file in files]


def test_photos_come_in_order_and_preprocessed_as_by_the_classifier(classifier, entries):
    with Decoders(classifier.transform, classifier.min_side, 3) as decoders:
        photos = list(decoders.decode(iter(entries)))
    assert [photo.entry for photo in photos] == entries
    for photo in photos[:3]:
        assert torch.equal(torch.from_numpy(photo.image), classifier.preprocess(photo.entry.path))
        assert (photo.size, photo.position, photo.error) == ((640, 480), None, "")
        assert photo.bytes == Path(photo.entry.path).stat().st_size


def test_no_more_entries_are_read_than_the_workers_need(classifier, entries):
    taken = []
    endless = (taken.append(0) or entries[0] for _ in iter(int, 1))
    with Decoders(classifier.transform, classifier.min_side, 2) as decoders:
        photos = decoders.decode(endless)
        for _ in range(100):
            next(photos)
        assert len(taken) <= 100 + 2 * 4 * 8 + 8
        photos.close()


class Deadly:
    """A transform that dies of one photo, as a library written in C may."""

    def __init__(self, transform, deadly: bytes):
        self.transform, self.deadly = transform, deadly

    def __call__(self, image):
        if image.tobytes() == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.transform(image)


def test_a_photo_that_kills_its_worker_affects_no_other(classifier, entries, tmp_path):
    from landmark_models import open_photo

    deadly = Deadly(classifier.transform, open_photo(entries[17].path, classifier.min_side).tobytes())
    with Decoders(deadly, classifier.min_side, 2) as decoders:
        photos = list(decoders.decode(entries))
    assert [photo.entry for photo in photos] == entries
    failed = [photo for photo in photos if photo.error]
    assert [photo.entry for photo in failed] == [entries[17]]
    assert "killed the process that decoded it" in failed[0].error
    assert all(photo.image is not None for photo in photos if photo is not failed[0])
