CREATE TABLE berths (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CONSTRAINT berths_name_unique UNIQUE,
    -- Whole centimetres: comparisons stay exact.
    max_length_cm integer NOT NULL CHECK (max_length_cm > 0),
    max_draught_cm integer NOT NULL CHECK (max_draught_cm > 0),
    -- Milliseconds, as JavaScript's Date: a time that was read compares equal when it comes back.
    created_at timestamptz(3) NOT NULL DEFAULT now()
);
