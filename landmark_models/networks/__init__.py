"""Networks of our own, which importing this registers with timm; and what serves a network: its head, rule and engine.

`import landmark_models` is enough: it imports this as soon as timm is imported, too.
"""

from landmark_models.networks import convnet as convnet
from landmark_models.networks import mlp_head as mlp_head
