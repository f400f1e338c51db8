// Locales that write numbers differently: 1.234.567,5 instead of 1234567.5.
#pragma once

#include <clocale>
#include <locale>
#include <string>

/// While it lives, new C++ streams write numbers that way.
class other_cpp_locale {
 public:
  other_cpp_locale() : old_(std::locale::global(std::locale(std::locale::classic(), new grouping))) {}
  other_cpp_locale(const other_cpp_locale&) = delete;
  other_cpp_locale& operator=(const other_cpp_locale&) = delete;
  ~other_cpp_locale() { std::locale::global(old_); }

 private:
  struct grouping : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  std::locale old_;
};

/// While it lives, C's functions write and read numbers that way, where the system has such a locale.
class other_c_locale {
 public:
  other_c_locale() : old_(std::setlocale(LC_ALL, nullptr)) {
    for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "es_ES.UTF-8", "it_IT.UTF-8", "pt_BR.UTF-8"})
      if (std::setlocale(LC_ALL, name) != nullptr) return;
  }
  other_c_locale(const other_c_locale&) = delete;
  other_c_locale& operator=(const other_c_locale&) = delete;
  ~other_c_locale() { std::setlocale(LC_ALL, old_.c_str()); }
  bool active() const { return *std::localeconv()->decimal_point == ','; }

 private:
  std::string old_;
};
