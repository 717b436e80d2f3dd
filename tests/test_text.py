from landmark_models.text import for_markdown, for_terminal


def test_markdown_obeys_nothing_in_a_strangers_text():
    assert for_markdown("it's [a](trap) <b> | x_y `z` $1$") == r"it's \[a\](trap) &lt;b&gt; \| x\_y \`z\` \$1\$"
    assert for_markdown("name\n===\n# more") == r"name === \# more"


def test_a_terminal_obeys_no_control_characters():
    assert for_terminal("\x1b[31mred\nline") == "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}line"
    assert for_terminal("Château d'If") == "Château d'If"
