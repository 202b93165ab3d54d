import pytest
from conftest import REPOSITORY

from hyperfitting import Recipe, RecipeError
from hyperfitting.options import field_help


def test_defaults_are_the_papers():
    recipe = Recipe.load(model="m", dataset="d")
    assert (recipe.num_train, recipe.seq_len, recipe.epochs, recipe.learning_rate) == (2000, 256, 20, 1e-6)
    assert (recipe.weight_decay, recipe.global_batch_size) == (0.0, 8)
    assert recipe.epochs * recipe.steps_per_epoch() == 5000


@pytest.mark.parametrize("path", sorted((REPOSITORY / "launch" / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_load_and_name_a_shipped_accelerate_config(path):
    recipe = Recipe.load(path)
    assert (REPOSITORY / "accelerate_configs" / recipe.accelerate_config).is_file()
    assert recipe.accumulation_steps(8 if recipe.accelerate_config != "single.yaml" else 1)[1] == 1


def test_a_file_then_overrides(tmp_path):
    (tmp_path / "r.yaml").write_text("learning_rate: 1e-5\nepochs: 3\npack: true\n")  # YAML reads 1e-5 as a string
    recipe = Recipe.load(tmp_path / "r.yaml", epochs="4")
    assert (recipe.learning_rate, recipe.epochs, recipe.pack) == (1e-5, 4, True)


def test_a_saved_recipe_loads_as_it_was(tmp_path):
    recipe = Recipe.load(model="m", stop_at_loss=0.05, tokenizer="none", keep_early_stopped=True)
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe


def test_all_problems_are_reported_at_once_with_the_nearest_name():
    with pytest.raises(RecipeError) as error:
        Recipe.load(learning_rte=1, epochs="many", seq_len=1.5, adam_beta1=2, mixed_precision="fp16", pack="maybe")
    message = str(error.value)
    assert "'learning_rte', did you mean 'learning_rate'?" in message
    for part in (
        "epochs: expected a number",
        "seq_len: expected a whole number",
        "adam_beta1",
        "fp16",
        "pack: expected true",
    ):
        assert part in message
    assert len(error.value.problems) == 6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_train": 4}, "an epoch would hold no step"),
        ({"probe_context_len": 300}, "probe_context_len"),
        ({"probe_contexts": 200}, "at most 128"),
        ({"stop_when_saturated": True, "probe_contexts": 0}, "probe_contexts above 0"),
        ({"save_dtype": "fp8"}, "save_dtype"),
        ({"learning_rate": "nan"}, "finite"),
    ],
)
def test_impossible_values_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.load(**values)


def test_the_batch_is_the_global_one():
    recipe = Recipe.load(global_batch_size=8)
    assert recipe.accumulation_steps(1) == (8, 1)
    assert recipe.accumulation_steps(8) == (1, 1)
    assert Recipe.load(global_batch_size=8, per_device_train_batch_size=2).accumulation_steps(2) == (2, 2)
    with pytest.raises(RecipeError, match="cannot be divided over 3 processes"):
        recipe.accumulation_steps(3)
    with pytest.raises(RecipeError, match="does not divide"):
        Recipe.load(global_batch_size=8, per_device_train_batch_size=3).accumulation_steps(2)


def test_every_field_has_a_docstring():
    assert {name for _, name, _ in field_help(Recipe)} == set(Recipe.__dataclass_fields__)
    assert all(len(text) > 15 for _, _, text in field_help(Recipe))
