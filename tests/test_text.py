import pytest

from landmark_models.text import for_markdown, for_terminal, percent


def test_markup_in_untrusted_text_has_no_effect():
    assert for_markdown("it's [a](trap) <b> | x_y `z` $1$") == r"it's \[a\](trap) &lt;b&gt; \| x\_y \`z\` \$1\$"
    assert for_markdown("name\n===\n# more") == r"name === \# more"


def test_control_characters_do_not_reach_the_terminal():
    assert for_terminal("\x1b[31mred\nline") == "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}line"
    assert for_terminal("Château d'If") == "Château d'If"


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [(0.0, 0, "0%"), (0.001, 0, "<1%"), (0.005, 0, "<1%"), (0.5, 0, "50%"), (0.97, 0, "97%"), (0.994, 0, "99%"),
     (0.997, 0, ">99%"), (1.0, 0, "100%"), (1, 1, "100.0%"), (0.9996, 1, ">99.9%"), (0.997, 1, "99.7%"),
     (0.0003, 1, "<0.1%"), (0.99999, 2, ">99.99%")],
)  # fmt: skip
def test_only_all_is_100_per_cent_and_only_none_is_0(share, digits, text):
    assert percent(share, digits) == text
