from landmark_models.text import for_markdown, for_terminal


def test_markup_in_untrusted_text_has_no_effect():
    assert for_markdown("it's [a](trap) <b> | x_y `z` $1$") == r"it's \[a\](trap) &lt;b&gt; \| x\_y \`z\` \$1\$"
    assert for_markdown("name\n===\n# more") == r"name === \# more"


def test_control_characters_do_not_reach_the_terminal():
    assert for_terminal("\x1b[31mred\nline") == "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}line"
    assert for_terminal("Château d'If") == "Château d'If"
