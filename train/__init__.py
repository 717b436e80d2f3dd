"""How a model is made: `accelerate launch -m train.fit RECIPE --data DATA --output RUN`."""
