from seqvae.trained import TrainedModel as TrainedModel
from seqvae.trained import load as load

__version__: str
