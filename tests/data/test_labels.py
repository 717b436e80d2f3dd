import unicodedata

import pytest
from helpers.photos import noisy_photo

from landmark_models.text import label_of
from train.data import DataError, find_photos, find_splits, train_and_val
from train.data.labels import match_folders


def write_classes(root, *folders, photos=2):
    """A photo or more in each of these folders."""
    for position, name in enumerate(folders):
        (root / name).mkdir(parents=True)
        for index in range(photos):
            noisy_photo((200, 40, 40), 10 * position + index, (16, 16)).save(root / name / f"{index}.jpg")
    return root


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("09.Golden_Gate_Bridge", "Golden Gate Bridge"),
        ("007.James", "James"),
        ("01. Taj Mahal", "Taj Mahal"),
        ("12.塔", "塔"),
        ("Taj_Mahal", "Taj Mahal"),
        ("Marseille_chateau_d_if", "Marseille chateau d if"),
        ("9.11_Memorial", "9.11 Memorial"),
        ("3.14_Tower", "3.14 Tower"),
        ("1984.5.x", "1984.5.x"),
        ("7", "7"),
        ("3.", "3."),
        ("30_St_Mary_Axe", "30 St Mary Axe"),
        (unicodedata.normalize("NFD", "05.Sacré-Cœur"), "Sacré-Cœur"),
    ],
)
def test_the_label_is_the_folder_without_order_and_underscores(folder, label):
    assert label_of(folder) == label


@pytest.mark.parametrize("name", ["_", "__", " ", "07._", "\u200b", "\u00a0_"])
def test_a_folder_that_names_nothing_is_refused(name, tmp_path):
    write_classes(tmp_path, "Taj_Mahal", name)
    with pytest.raises(DataError, match="names no landmark; rename it"):
        find_photos(tmp_path, "train")


@pytest.mark.parametrize(
    "names",
    [
        ("01.Taj_Mahal", "Taj_Mahal"),
        ("Taj_Mahal", "Taj Mahal"),
        ("Taj_Mahal", "taj_mahal"),
        ("Taj_Mahal", "Taj__Mahal"),
        (unicodedata.normalize("NFC", "Sacré-Cœur"), unicodedata.normalize("NFD", "Sacré-Cœur")),
    ],
)
def test_two_folders_of_one_name_are_refused(names, tmp_path):
    with pytest.raises(DataError, match=r"have the same label .*; merge them or rename one"):
        find_photos(write_classes(tmp_path / "bare", *names), "train")
    write_classes(tmp_path / "split" / "train", names[0])
    write_classes(tmp_path / "split" / "test", names[1])
    if label_of(names[0]) == label_of(names[1]):
        assert len(find_splits(tmp_path / "split", left_out={})["test"].labels) == 1
    else:
        with pytest.raises(DataError, match="one name in two forms"):
            find_splits(tmp_path / "split", left_out={})


def test_a_validation_split_in_another_unicode_form_is_of_the_same_classes(tmp_path):
    names = ["Sacré-Cœur", "Château"]
    write_classes(tmp_path / "train", *(unicodedata.normalize("NFC", name) for name in names))
    write_classes(tmp_path / "val", *(unicodedata.normalize("NFD", name) for name in names))
    train, val, _ = train_and_val(tmp_path, 0.1, 0)
    assert train.labels == val.labels
    assert sorted(val.targets) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("09.Taj_Mahal", "Taj Mahal"),
        ("Taj_Mahal", "Taj Mahal"),
        ("007.James", "007.James"),
        ("9.11_Memorial", "11 Memorial"),  # of a model that took the 9 for an order
        ("Château", unicodedata.normalize("NFD", "Château")),
    ],
)
def test_folders_match_the_labels_of_models_that_exist(folder, label, tmp_path):
    photos = find_photos(write_classes(tmp_path, folder), "train", ["other", label])
    assert photos.targets == (1, 1)
    assert photos.labels == ("other", label)


def test_a_model_that_tells_two_names_apart_is_measured_on_both(tmp_path):
    labels = ["Taj Mahal", "taj mahal"]
    photos = find_photos(write_classes(tmp_path, "Taj_Mahal", "taj_mahal", photos=1), "train", labels)
    assert photos.targets == (0, 1)
    with pytest.raises(DataError, match="have the same label 'Taj Mahal'"):
        match_folders([tmp_path / "Taj_Mahal", tmp_path / "4.Taj_Mahal"], labels)


def test_a_label_in_another_case_is_refused_with_a_hint(tmp_path):
    with pytest.raises(DataError, match=r"has 'taj mahal', which the model does not know \(it has 'Taj Mahal'\)"):
        find_photos(write_classes(tmp_path, "taj_mahal"), "train", ["Taj Mahal", "Eiffel Tower"])
