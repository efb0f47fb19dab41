"""STEM's hyperparameters: the published recipe and shorter ones."""

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace


def one_of(*choices: str) -> str:
    """A hyperparameter with names to choose from; the first is the published one."""
    return field(default=choices[0], metadata={"choices": choices})


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a fit and of its samples; the defaults are the published recipe.

    ValueError for a value of another type, or that is not among the choices. A fit is stored with the plain dict of
    these (`dataclasses.asdict`).
    """

    hidden_size: int = 384
    depth: int = 12
    n_heads: int = 6
    condition_init: str = one_of("0.02", "xavier")  # of the weights that conditions meet first: the spread, or by width
    condition_noise: float = 0.0  # standard deviation of noise on the conditions, anew at each step
    scale_conditions: bool = False  # z-score each feature on the training spots
    within_sections: bool = False  # conditions and targets as deviations from the mean of their training section
    augment: bool = True  # with `augmented` conditions: each spot once per epoch in each of its views
    scaling: str = one_of("as_is", "standardized", "clipped")  # z-scored by gene on training spots; at +-sqrt(spots)
    prediction: str = one_of("epsilon", "v")  # "v": the first output is the velocity, see `diffusion.velocity`
    steps: int = 250_000
    batch_size: int = 256
    learning_rate: float = 1e-4
    rate: str = one_of("constant", "cosine")  # linear warm-up over 5 % of the steps, then a cosine to zero
    weight_decay: float = 0.0
    stratified: bool = False  # the times of a batch are spread evenly over the schedule
    ema: float = 0.9999
    precision: str = one_of("float32", "bfloat16")  # of matrix products, where the device can; on a GPU float32 is TF32
    compile: bool = False  # fused by torch.compile, which takes a minute first
    patience: int = 0  # hundredths of the steps without gain on a validation section, then stop; 0: there is none
    sampler: str = one_of("ancestral", "sde", "ddim", "dpm", "mean")  # few calls, by diffusers; the mean in one call
    calls: int = 1000  # of the network for each sample by sde, ddim or dpm, also of those drawn beside the mean
    n_samples: int = 20
    antithetic: bool = False  # samples come in pairs with opposite noise
    shared: bool = False  # a sample has the same noise in every spot

    def __post_init__(self):
        for setting in fields(self):
            check_field(setting, getattr(self, setting.name))
        if (self.sampler, self.prediction) == ("mean", "epsilon"):
            raise ValueError(
                "sampler 'mean' needs prediction='v': at the last time an error in the noise weighs 157 times in the "
                "target; choose sde"
            )


KINDS = {int: (int, "a whole number"), float: ((int, float), "a number"), bool: (bool, "true or false")}


def check_field(setting: Field, value) -> None:
    """Refuse a value that a field of `Recipe` cannot have: a whole number is a number, true and false are none."""
    choices = setting.metadata.get("choices")
    if choices:
        if value not in choices:
            raise ValueError(f"{setting.name} is {value!r}: choose from {', '.join(choices)}")
        return
    kind, what = KINDS[setting.type]
    if not isinstance(value, kind) or isinstance(value, bool) != (setting.type is bool):
        raise ValueError(f"{setting.name} is {value!r}: give {what}")


PAPER = asdict(Recipe())  # as it is stored with a fit
CHOICES = {setting.name: setting.metadata["choices"] for setting in fields(Recipe) if "choices" in setting.metadata}
# A small network that converges in minutes.
SHORT = Recipe(
    hidden_size=32,
    depth=2,
    n_heads=1,
    condition_init="xavier",
    condition_noise=1.0,
    scale_conditions=True,
    within_sections=True,
    augment=False,
    scaling="standardized",
    prediction="v",
    batch_size=32,
    learning_rate=4e-3,
    rate="cosine",
    stratified=True,
    ema=0.99,
    precision="bfloat16",
    sampler="mean",
    calls=25,
    antithetic=True,
)
# The steps of `cpu` are the number that inner splits of the training sections choose (`chapters.inner_splits`).
PROFILES = {"quick": replace(SHORT, steps=200, n_samples=10), "cpu": replace(SHORT, steps=1200), "paper": Recipe()}

# Arms that are no scaling of the target: the one that changes nothing, one with fewer features, one of another seed.
PROFILE, WITHOUT_NUCLEI, SEED = "profile", "without_nuclei", "seed_"


def recipe(profile: str, **changes) -> Recipe:
    """A profile's hyperparameters with some of them changed; ValueError for a profile or name that does not exist."""
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}: choose from {', '.join(PROFILES)}")
    return changed(PROFILES[profile], changes)


def changed(hyper: Recipe, changes: Mapping) -> Recipe:
    """Hyperparameters with some replaced; ValueError for a name or value that does not exist."""
    if unknown := changes.keys() - PAPER.keys():
        raise ValueError(f"no hyperparameter {', '.join(sorted(unknown))}: choose from {', '.join(PAPER)}")
    return replace(hyper, **changes)
