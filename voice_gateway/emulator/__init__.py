"""Both far sides in a box: the carrier and the model, written from their references and sharing no dialect with us."""
