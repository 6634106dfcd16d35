CREATE TABLE invoice (
  id serial PRIMARY KEY,
  customer_id int NOT NULL REFERENCES customer,
  cents bigint NOT NULL
);
