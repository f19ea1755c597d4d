-- Rows for a demonstration of the other tools. May be run again; rows that are there stay as they are.
insert into gl_lines (period, account, account_name, class, amount)
  select period, account, name, class, round((base * growth)::numeric, 2)
    from (values ('2026-08', 1.00), ('2026-09', 1.07), ('2026-10', 1.12)) months (period, growth),
      (values ('4000', 'Sales', 'revenue', 120000), ('5000', 'Cost of sales', 'cogs', 46000),
        ('6000', 'Salaries', 'opex', 31000), ('6100', 'Rent', 'opex', 9000)) accounts (account, name, class, base)
on conflict do nothing;
insert into tax_rules (id, jurisdiction, topic, rule, rate, authority, notes, effective_from) values
  ('mt-vat-std', 'MT', 'vat', 'Standard VAT rate', 18, 'VAT Act, Cap. 406', '', '2004-01-01'),
  ('uk-vat-std', 'UK', 'vat', 'Standard VAT rate', 20, 'VATA 1994 s.2', '', '2011-01-04'),
  ('ca-gst', 'CA', 'gst', 'Federal GST', 5, 'Excise Tax Act s.165', 'Provinces add PST or HST', '2008-01-01'),
  ('us-cit', 'US', 'corporate_income_tax', 'Federal corporate rate', 21, 'IRC s.11(b)', 'States add their own', '2018-01-01')
on conflict do nothing;
insert into members (id, full_name, phone, language) values
  ('member_123', 'Aline Uwase', '+250788000123', 'rw'),
  ('member_456', 'Jean Mugabo', '+250788000456', 'fr')
on conflict do nothing;
insert into savings_accounts (member_id, balance) values ('member_123', 50000), ('member_456', 1250)
on conflict do nothing;
insert into vouchers (id, code, value, type, expires_at) values
  ('voucher_123', 'SAVE2024', 1000, 'discount', null),
  ('voucher_124', 'OLD2020', 500, 'credit', '2021-01-01')
on conflict do nothing;
insert into customers (id, full_name, phone, language, notes) values
  ('customer_1', 'Claire Borg', '+35699000111', 'en', 'Prefers mornings'),
  ('customer_2', 'Eric Habimana', '+250788000789', 'rw', '')
on conflict do nothing;
insert into appointments (id, starts_at, ends_at, customer_id, customer_name, customer_phone, reason) values
  ('01930000-0000-7000-8000-000000000001', '2026-12-01 09:00+00', '2026-12-01 09:30+00', 'customer_1', 'Claire Borg',
    '+35699000111', 'First consultation'),
  ('01930000-0000-7000-8000-000000000002', '2026-12-01 10:00+00', '2026-12-01 11:00+00', 'customer_2', 'Eric Habimana',
    '+250788000789', 'Tax return')
on conflict do nothing;
