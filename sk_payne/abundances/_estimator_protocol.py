"""Protocol of meta-estimators of scikit-learn: metadata routing, tags, fitted state."""

from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from sk_payne.abundances._fitted_emulator import is_fitted

__all__ = ["EstimatorProtocol"]


class EstimatorProtocol:
    """Mixin of a regressor around an emulator."""

    def get_metadata_routing(self):
        """Route metadata of `fit` to the emulator, and its own to the regressor.

        Returns
        -------
        router : MetadataRouter
            Router of the metadata.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(emulator=self.emulator, method_mapping=mapping)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "emulator_") or is_fitted(self.emulator)
