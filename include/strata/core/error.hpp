// The one exception type of the library, and the two ways to raise it.
// Messages name the thing, its value and what was expected.
#pragma once

#include <initializer_list>
#include <locale>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include <strata/core/platform.hpp>

namespace strata {

/// Every failure the library reports: bad input, a wrong file, a broken invariant of the caller.
class error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace strata

namespace strata::inline STRATA_ABI {

namespace detail {

/// A part of a text, of any printable type. Texts of many parts then share one function, which is quicker to compile.
class printable_part {
 public:
  printable_part(const char* text)
      : value_(text),
        print_([](std::ostream& stream, const void* value) { stream << static_cast<const char*>(value); }) {}
  template <class T>
  printable_part(const T& value)
      : value_(&value), print_([](std::ostream& stream, const void* of) { stream << *static_cast<const T*>(of); }) {}
  void print(std::ostream& stream) const { print_(stream, value_); }

 private:
  const void* value_;
  void (*print_)(std::ostream&, const void*);
};

inline std::string joined(std::initializer_list<printable_part> parts) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  for (const printable_part& part : parts) part.print(text);
  return text.str();
}

}  // namespace detail

/// Joins anything printable into one string. Numbers look the same in every locale, because files hold such strings.
template <class... Parts>
std::string to_text(const Parts&... parts) {
  return detail::joined({detail::printable_part(parts)...});
}

/// Throws `strata::error` with the parts joined into one sentence.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw error(to_text(parts...));
}

/// Throws `strata::error` unless `condition` holds.
template <class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) fail(parts...);
}

/// work(), whose lack of memory is a `strata::error` about `what`.
template <class Work>
decltype(auto) with_memory_for(const char* what, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::bad_alloc&) {
    fail("there is too little memory for ", what);
  } catch (const std::length_error&) {
    fail("there is too little memory for ", what);
  }
}

}  // namespace strata
