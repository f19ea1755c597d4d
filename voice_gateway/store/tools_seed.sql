-- Rows for a demonstration of the tools. What is there already stays as it is. In the SQL that SQLite and PostgreSQL have
-- in common: both are seeded by this one file.
insert into gl_lines (period, account, account_name, class, amount)
  select period, account, name, class, round(base * growth, 2)
    from (select '2026-08' as period, 1.00 as growth union all select '2026-09', 1.07 union all select '2026-10', 1.12) months,
      (select '4000' as account, 'Sales' as name, 'revenue' as class, 120000 as base
        union all select '5000', 'Cost of sales', 'cogs', 46000
        union all select '6000', 'Salaries', 'opex', 31000
        union all select '6100', 'Rent', 'opex', 9000) accounts
  where true
on conflict do nothing;
insert into tax_rules (id, jurisdiction, topic, rule, rate, authority, notes, effective_from) values
  ('mt-vat-std', 'MT', 'vat', 'Standard VAT rate', 18, 'VAT Act, Cap. 406', '', '2004-01-01'),
  ('uk-vat-std', 'UK', 'vat', 'Standard VAT rate', 20, 'VATA 1994 s.2', '', '2011-01-04'),
  ('uk-cit', 'UK', 'corporate_income_tax', 'Main rate of corporation tax', 25, 'Finance Act 2021 s.6', 'Smaller profits are taxed at 19 %, with marginal relief between', '2023-04-01'),
  ('ca-gst', 'CA', 'gst', 'Federal GST', 5, 'Excise Tax Act s.165', 'Provinces add PST or HST', '2008-01-01'),
  ('us-cit', 'US', 'corporate_income_tax', 'Federal corporate rate', 21, 'IRC s.11(b)', 'States add their own', '2018-01-01'),
  ('eu-vat-min', 'EU', 'vat', 'The standard rate of a member state is at least', 15, 'Directive 2006/112/EC, Article 97', 'Each member state sets its own', '2007-01-01'),
  ('eu-vat-b2b', 'EU', 'reverse_charge', 'Services to a business are taxed where it is established, and it owes the tax', null, 'Directive 2006/112/EC, Articles 44 and 196', '', '2010-01-01'),
  ('us-revenue', 'US', 'revenue_recognition', 'Revenue from contracts with customers, in five steps', null, 'ASC 606', '', '2018-01-01'),
  ('eu-revenue', 'EU', 'revenue_recognition', 'Revenue from contracts with customers, in five steps', null, 'IFRS 15', '', '2018-01-01'),
  ('uk-revenue', 'UK', 'revenue_recognition', 'Revenue, for entities that do not use IFRS', null, 'FRS 102, Section 23', 'Listed groups use IFRS 15', '2015-01-01'),
  ('ca-revenue', 'CA', 'revenue_recognition', 'Revenue of private enterprises', null, 'ASPE, Section 3400', 'Publicly accountable enterprises use IFRS 15', '2011-01-01'),
  ('us-leases', 'US', 'leases', 'Leases are recognised on the balance sheet', null, 'ASC 842', '', '2019-01-01'),
  ('eu-leases', 'EU', 'leases', 'Leases are recognised on the balance sheet', null, 'IFRS 16', '', '2019-01-01')
on conflict do nothing;
insert into members (id, full_name, phone, language) values
  ('member_123', 'Aline Uwase', '+250788000123', 'rw'),
  ('member_456', 'Jean Mugabo', '+250788000456', 'fr')
on conflict do nothing;
insert into savings_accounts (member_id, balance) values ('member_123', 50000), ('member_456', 1250)
on conflict do nothing;
insert into vouchers (id, code, value, type, expires_at) values
  ('voucher_123', 'SAVE2024', 1000, 'discount', null),
  ('voucher_124', 'OLD2020', 500, 'credit', '2021-01-01T00:00:00.000Z')
on conflict do nothing;
insert into customers (id, full_name, phone, language, notes) values
  ('customer_1', 'Claire Borg', '+35699000111', 'en', 'Prefers mornings'),
  ('customer_2', 'Eric Habimana', '+250788000789', 'rw', '')
on conflict do nothing;
insert into appointments (id, starts_at, ends_at, customer_id, customer_name, customer_phone, reason) values
  ('01930000-0000-7000-8000-000000000001', '2026-12-01T09:00:00.000Z', '2026-12-01T09:30:00.000Z', 'customer_1',
    'Claire Borg', '+35699000111', 'First consultation'),
  ('01930000-0000-7000-8000-000000000002', '2026-12-01T10:00:00.000Z', '2026-12-01T11:00:00.000Z', 'customer_2',
    'Eric Habimana', '+250788000789', 'Tax return')
on conflict do nothing;
