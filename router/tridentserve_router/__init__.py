"""The data plane entry: admission, journey, dispatcher."""
