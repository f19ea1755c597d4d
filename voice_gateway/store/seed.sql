-- The demonstration menu. In the SQL that SQLite and Postgres have in common: both are seeded by this one file.
insert into menu_items (id, market, name, category, price, currency, description, tags) values
  ('rw-cap', 'RW', 'Cappuccino', 'coffee', 3000, 'RWF', 'Rwandan arabica, steamed milk', '["drink","hot"]'),
  ('rw-afc', 'RW', 'African Coffee', 'coffee', 3500, 'RWF', 'Milk brewed with coffee and spices', '["drink","hot"]'),
  ('rw-esp', 'RW', 'Espresso', 'coffee', 2000, 'RWF', 'A short shot of Rwandan arabica', '["drink","hot"]'),
  ('rw-lat', 'RW', 'Caffe Latte', 'coffee', 3200, 'RWF', 'Espresso with much steamed milk', '["drink","hot"]'),
  ('rw-moc', 'RW', 'Mocha', 'coffee', 3800, 'RWF', 'Espresso, chocolate, steamed milk', '["drink","hot","sweet"]'),
  ('rw-ice', 'RW', 'Iced Coffee', 'coffee', 3000, 'RWF', 'Cold brewed, over ice', '["drink","cold"]'),
  ('rw-hou', 'RW', 'House Coffee', 'coffee', 1800, 'RWF', 'Filter coffee, roasted in the house', '["drink","hot"]'),
  ('rw-mut', 'RW', 'Mützig 65cl', 'beer', 2500, 'RWF', 'Local lager', '["drink","cold","alcohol"]'),
  ('rw-bro', 'RW', 'Goat Brochette', 'grill', 4500, 'RWF', 'Two skewers with grilled banana', '["food","spicy","meat"]'),
  ('rw-til', 'RW', 'Grilled Tilapia', 'grill', 12000, 'RWF', 'Whole fish, pili-pili', '["food","fish","spicy"]'),
  ('rw-pas', 'RW', 'Passion Fruit Juice', 'juice', 2000, 'RWF', 'Fresh pressed', '["drink","cold"]'),
  ('mt-cis', 'MT', 'Cisk Lager', 'beer', 3.50, 'EUR', 'Maltese lager, 33cl', '["drink","cold","alcohol"]'),
  ('mt-kin', 'MT', 'Kinnie', 'soft drink', 2.80, 'EUR', 'Bitter orange soda', '["drink","cold"]'),
  ('mt-fti', 'MT', 'Ftira with Tuna', 'food', 8.90, 'EUR', 'Maltese bread, tuna, capers, olives', '["food","fish"]'),
  ('mt-mar', 'MT', 'Margarita', 'cocktail', 9.50, 'EUR', 'Tequila, lime, triple sec', '["drink","cold","alcohol"]'),
  ('mt-past', 'MT', 'Pastizzi', 'food', 1.20, 'EUR', 'Ricotta or pea pastry', '["food","vegetarian"]'),
  ('mt-cro', 'MT', 'Butter Croissant', 'pastry', 2.40, 'EUR', 'Baked this morning', '["food","vegetarian"]')
on conflict do nothing;
insert into pairings (item_id, paired_item_id, upsell, priority) values
  ('rw-cap', 'rw-afc', 'Would you like to try our African Coffee next?', 1),
  ('rw-bro', 'rw-mut', 'A cold Mützig goes well with the brochette.', 5),
  ('rw-til', 'rw-pas', 'Passion fruit juice cuts the pili-pili nicely.', 4),
  ('mt-fti', 'mt-kin', 'Kinnie is the classic with a ftira.', 5),
  ('mt-past', 'mt-cis', 'Pastizzi and a Cisk?', 3)
on conflict do nothing;
