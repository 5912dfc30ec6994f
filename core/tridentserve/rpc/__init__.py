"""Messages to domain values and back, and what every gRPC server and client shares."""
