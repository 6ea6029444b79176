"""Parameters beside what a notebook's forms and defaults say of them."""

from __future__ import annotations

import pytest

from colabkit.errors import AddressError
from colabkit.headless.parameters import fitted, parse

FORM = """#@title Settings { display-mode: "form" }
epochs = 10 #@param {type:"integer"}
rate = 1e-3 # @param {"type":"number"}
share = 0.5 #@param {type:"slider", min:0, max:1, step:0.1}
augment = True #@param {type:"boolean"}
label = '' #@param {type:"string"}
day = '2020-01-01' #@param {type:"date"}
kind = 'cats' #@param ["cats", "dogs", "2.10"]
free = 'cats' #@param ["cats", "dogs"] {allow-input: true}
sizes = None #@param ["1", "2"] {type:"raw"}
"""
PLAIN = "epochs = 10\ncache = False\nmode: str = 'a'\n"


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("augment=false", {"augment": False}),
        ("augment=No", {"augment": False}),
        ("augment=0", {"augment": False}),
        ("augment=True", {"augment": True}),
        ("epochs=3 rate=2 share=1e-1", {"epochs": 3, "rate": 2, "share": 0.1}),
        ("label=2.10 day=2021-02-03", {"label": "2.10", "day": "2021-02-03"}),
        ("label=None", {"label": "None"}),
        ("kind=dogs free=birds", {"kind": "dogs", "free": "birds"}),
        ("kind=2.10", {"kind": "2.10"}),
        ("sizes=[1,2]", {"sizes": [1, 2]}),
    ],
)
def test_a_field_of_a_form_gets_the_value_that_its_type_says(words, values):
    """What a shell's user types, as `false`, is no text that counts as true; a text stays as it was typed."""
    assert fitted(parse(words.split()), [FORM]) == values


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("augment=maybe", "True or False"),
        ("epochs=ten", "a whole number"),
        ("epochs=1.5", "a whole number"),
        ("epochs=True", "a whole number"),
        ("rate=fast", "a number"),
        ("kind=birds", "one of cats, dogs, 2.10"),
    ],
)
def test_a_field_refuses_what_its_form_would_not_take(word, wanted):
    """The error names the parameter, and what it takes."""
    with pytest.raises(AddressError, match=word.partition("=")[0]) as caught:
        fitted(parse([word]), [FORM])
    assert wanted in caught.value.hint


def test_without_a_form_only_a_default_of_yes_or_no_decides():
    """`cache = False` and -p cache=true mean True; another text or type may be meant so."""
    assert fitted(parse(["cache=true"]), [PLAIN]) == {"cache": True}
    assert fitted(parse(["cache=disk", "epochs=auto", "mode=3"]), [PLAIN]) == {
        "cache": "disk",
        "epochs": "auto",
        "mode": 3,
    }
    assert fitted({"epochs": 3, "cache": True}, [PLAIN]) == {"epochs": 3, "cache": True}


@pytest.mark.parametrize(("word", "near"), [("epocs=3", "did you mean epochs?"), ("nothing=3", "")])
def test_a_parameter_that_no_cell_uses_is_told(word, near, caplog):
    """A slip of the keys would leave the default in its place, in silence."""
    fitted(parse([word]), [PLAIN])
    assert f"no cell uses the parameter {word[:-2]}" in caplog.text
    assert near in caplog.text
    caplog.clear()
    fitted(parse(["upload=a.csv", "epochs=3"]), [PLAIN, "files.upload()"])
    fitted(parse(["age=3"]), ["n = input('Your age?')"])
    assert not caplog.text
