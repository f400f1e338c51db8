// Reads and writes named tensors in the safetensors format: 8 bytes of header length, a JSON header, the data. Several
// files (shards) are read by their index: model.safetensors.index.json.
// Shapes: any rank, row-major; elements are converted to the type the caller asks for.
// Source: https://huggingface.co/docs/safetensors ("Format"); a file that breaks its rules is refused.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <strata/core/buffer.hpp>
#include <strata/core/error.hpp>
#include <strata/core/small_floats.hpp>
#include <strata/core/view.hpp>
#include <strata/io/file.hpp>
#include <strata/io/json.hpp>

namespace strata::inline STRATA_ABI {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian, and so must be the host");

/// How a file stores an element. The names are those of the format; floating-point types come first. `other` is every
/// type that is not converted: F8_E8M0, F4, complex numbers, and those of later versions of the format.
enum class dtype { F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U64, U32, U16, U8, BOOL, other };

namespace detail {

struct dtype_row {
  dtype type;
  std::string_view name;
  std::size_t bytes;
};
inline constexpr dtype_row dtype_rows[] = {
    {dtype::F64, "F64", 8},         {dtype::F32, "F32", 4},         {dtype::F16, "F16", 2},  {dtype::BF16, "BF16", 2},
    {dtype::F8_E4M3, "F8_E4M3", 1}, {dtype::F8_E5M2, "F8_E5M2", 1}, {dtype::I64, "I64", 8},  {dtype::I32, "I32", 4},
    {dtype::I16, "I16", 2},         {dtype::I8, "I8", 1},           {dtype::U64, "U64", 8},  {dtype::U32, "U32", 4},
    {dtype::U16, "U16", 2},         {dtype::U8, "U8", 1},           {dtype::BOOL, "BOOL", 1}};
/// The types of the format that are not converted.
struct other_dtype {
  std::string_view name;
  std::uint64_t bits;
};
inline constexpr other_dtype other_dtypes[] = {{"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},
                                               {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"C64", 64}};

}  // namespace detail

constexpr std::string_view name_of(dtype type) {
  return type == dtype::other ? "another type" : detail::dtype_rows[static_cast<int>(type)].name;
}
/// Bytes of an element; 0 for `other`.
constexpr std::size_t size_of(dtype type) {
  return type == dtype::other ? 0 : detail::dtype_rows[static_cast<int>(type)].bytes;
}

/// The dtype that stores a `T` unchanged.
template <class T>
constexpr dtype dtype_of() {
  if constexpr (std::same_as<T, double>)
    return dtype::F64;
  else if constexpr (std::same_as<T, float>)
    return dtype::F32;
  else if constexpr (std::same_as<T, bool>)
    return dtype::BOOL;
  else {
    static_assert(std::integral<T>, "a safetensors element is float, double, bool or an integer");
    constexpr dtype with_sign[] = {dtype::I8, dtype::I16, dtype::I32, dtype::I64};
    constexpr dtype without_sign[] = {dtype::U8, dtype::U16, dtype::U32, dtype::U64};
    return (std::is_signed_v<T> ? with_sign : without_sign)[std::countr_zero(sizeof(T))];
  }
}

/// One tensor of a file. `begin` and `end` count bytes from the start of the data section.
struct safetensors_entry {
  std::string name;
  strata::dtype dtype = strata::dtype::F32;
  std::vector<index_type> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::size_t shard = 0;   ///< which of several files holds it
  std::string dtype_name;  ///< as the file has it

  /// Elements, not bytes.
  index_type size() const {
    return std::accumulate(shape.begin(), shape.end(), index_type{1}, std::multiplies<index_type>());
  }
};

namespace detail {

/// The limit of the official implementation; real headers are far smaller.
inline constexpr std::uint64_t safetensors_header_limit = 100'000'000;

/// "[2, 3]".
template <class Number>
std::string bracketed(std::span<const Number> numbers) {
  std::string text = "[";
  for (const Number number : numbers) text.append(text.size() > 1 ? ", " : "").append(std::to_string(number));
  return text + "]";
}

/// Computes the bits of a tensor whose elements have `bits`. False if the number does not fit in 63 bits.
inline bool tensor_bits(std::uint64_t bits, std::span<const index_type> shape, std::uint64_t& all) {
  all = bits;
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<index_type>::max());
  for (const index_type extent : shape) {
    const auto factor = static_cast<std::uint64_t>(extent);
    if (extent < 0 || (factor != 0 && all > most / factor)) return false;
    all *= factor;
  }
  return true;
}

/// Calls `action` with a value of the type that stores an element.
template <class Action>
void with_stored_type(dtype type, Action&& action) {
  switch (type) {
    case dtype::F64:
      return action(double{});
    case dtype::F32:
      return action(float{});
    case dtype::F16:
      return action(float16{});
    case dtype::BF16:
      return action(bfloat16{});
    case dtype::F8_E4M3:
      return action(float8_e4m3{});
    case dtype::F8_E5M2:
      return action(float8_e5m2{});
    case dtype::I64:
      return action(std::int64_t{});
    case dtype::I32:
      return action(std::int32_t{});
    case dtype::I16:
      return action(std::int16_t{});
    case dtype::I8:
      return action(std::int8_t{});
    case dtype::U64:
      return action(std::uint64_t{});
    case dtype::U32:
      return action(std::uint32_t{});
    case dtype::U16:
      return action(std::uint16_t{});
    case dtype::U8:
    case dtype::BOOL:
    case dtype::other:  // refused before
      return action(std::uint8_t{});
  }
}

/// A stored element as an arithmetic type.
template <class Stored>
auto number_of(Stored stored) {
  if constexpr (std::is_arithmetic_v<Stored>)
    return stored;
  else
    return to_float(stored);
}

/// Whether `T` holds the number. Between floating types it may be rounded but not made infinite; else it must be exact.
template <class T, class Number>
constexpr bool fits(Number number) {
  if constexpr (std::same_as<T, bool>) {
    return number == 0 || number == 1;
  } else if constexpr (std::floating_point<T> && std::floating_point<Number>) {
    if constexpr (sizeof(T) >= sizeof(Number)) return true;
    return !(std::abs(number) <= std::numeric_limits<Number>::max()) ||
           std::abs(static_cast<T>(number)) <= std::numeric_limits<T>::max();
  } else if constexpr (std::floating_point<T>) {
    if constexpr (std::numeric_limits<Number>::digits <= std::numeric_limits<T>::digits) return true;
    auto magnitude = static_cast<std::uint64_t>(number);
    if constexpr (std::signed_integral<Number>)
      if (number < 0) magnitude = 0 - magnitude;
    return magnitude == 0 || std::bit_width(magnitude) - std::countr_zero(magnitude) <= std::numeric_limits<T>::digits;
  } else if constexpr (std::floating_point<Number>) {
    // Exact: a power of two, one more than the largest integer.
    constexpr auto end = static_cast<Number>(std::numeric_limits<T>::max() / 2 + 1) * 2;
    return number >= static_cast<Number>(std::numeric_limits<T>::min()) && number < end && std::trunc(number) == number;
  } else {
    return std::in_range<T>(number);
  }
}

/// Converts `count` elements. Returns the index of the first that `T` does not hold, or `count`.
template <class T, class Stored>
index_type convert(const Stored* from, index_type count, T* to) {
  std::uint32_t misfits = 0;  // checked after the loop, so that compilers vectorise the loop
  for (index_type n = 0; n < count; ++n) {
    const auto number = number_of(from[n]);
    const bool own = fits<T>(number);
    misfits |= static_cast<std::uint32_t>(!own);
    if constexpr (std::floating_point<decltype(number)> && !std::floating_point<T>)
      to[n] = own ? static_cast<T>(number) : T{};  // other casts are defined for every number
    else
      to[n] = static_cast<T>(number);
  }
  index_type position = misfits == 0 ? count : 0;
  while (position < count && fits<T>(number_of(from[position]))) ++position;
  return position;
}

constexpr bool is_floating(dtype type) { return type <= dtype::F8_E5M2; }

/// Rounds `count` numbers to the nearest of another type. Returns the index of the first finite one that became
/// infinite, or `count`.
template <class Stored, class Number>
index_type round(const Number* from, index_type count, Stored* to) {
  for (index_type n = 0; n < count; ++n) {
    if constexpr (std::same_as<Stored, float16>)
      to[n] = to_float16(from[n]);
    else if constexpr (std::same_as<Stored, bfloat16>)
      to[n] = to_bfloat16(from[n]);
    else
      to[n] = static_cast<Stored>(from[n]);
  }
  if constexpr (sizeof(Stored) >= sizeof(Number)) return count;
  std::uint32_t infinite = 0;
  for (index_type n = 0; n < count; ++n)
    infinite |= (std::bit_cast<std::uint32_t>(static_cast<float>(number_of(to[n]))) & 0x7fffffffu) >= 0x7f800000u;
  index_type position = infinite == 0 ? count : 0;
  while (position < count && (!std::isfinite(from[position]) || std::isfinite(number_of(to[position])))) ++position;
  return position;
}

/// Elements converted at a time: few enough for the processor's cache.
inline constexpr index_type converted_elements = index_type{1} << 15;

/// Whether a file with this start is JSON. A safetensors file starts with a length, which has zero bytes.
inline bool is_json(std::string_view start) {
  const std::size_t first = start.find_first_not_of(" \t\r\n\xef\xbb\xbf");  // the last three: a byte order mark
  return first != start.npos && (start[first] == '{' || start[first] == '[') &&
         start.substr(0, 8).find('\0') == start.npos;
}

/// Fails if the file starts like a format that is often confused with safetensors. Says what it is, and what to do.
inline void refuse_other_formats(std::string_view start, const std::string& source) {
  if (start.size() > 8 && start.substr(4, 4) == std::string_view("\0\0\0", 4) && start[8] == '{') return;
  const auto refuse = [&](const auto&... parts) { fail(source, ": this is no safetensors file, but ", parts...); };
  const char* const save = ": load it there and save its tensors with safetensors.torch.save_file";
  // A zip archive has the name of its first file after 30 bytes.
  if (start.starts_with("PK\3\4") && start.find(".npy") != start.npos) refuse("an archive of NumPy (.npz)", save);
  if (start.starts_with("PK\3\4")) refuse("a zip archive, as PyTorch writes it (.pt, .pth, .bin)", save);
  if (start.size() > 1 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5)
    refuse("a pickle, as Python and old versions of PyTorch write it (.pt, .pth, .bin)", save);
  if (start.starts_with("\x93NUMPY")) refuse("an array of NumPy (.npy)", save);
  if (start.starts_with("\x89HDF\r\n")) refuse("an HDF5 file, as Keras writes it (.h5)", save);
  if (start.starts_with("GGUF")) refuse("a GGUF file of llama.cpp: take the safetensors file that it was made from");
  if (start.starts_with("version https://git-lfs"))
    refuse("a pointer of Git LFS to the file: get the file itself with 'git lfs pull'");
  if (start.starts_with("\x1f\x8b")) refuse("compressed by gzip: decompress it with gunzip");
  if (is_json(start)) refuse("JSON: name the .safetensors file, or the model.safetensors.index.json of several");
  const std::size_t first = start.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (first != start.npos && start[first] == '<' && start.find('\0') == start.npos)
    refuse("a page of HTML or XML: download the file itself, not the page about it");
  // The 8 bytes of the length end with zeros.
  const auto in_text = [](char each) {
    return (each >= ' ' && each <= '~') || each == '\n' || each == '\r' || each == '\t';
  };
  if (start.size() > 8 && std::ranges::all_of(start.substr(0, 8), in_text))
    refuse("text that starts with ", printable(start, 40));
}

/// Builds the entries from the parser's events. A tree would hide a name that appears twice, and events refuse deep
/// nesting before it takes memory.
class safetensors_header {
 public:
  using json = nlohmann::json;
  explicit safetensors_header(std::string source) : source_(std::move(source)) {}

  std::map<std::string, std::string> metadata;
  std::vector<safetensors_entry> entries;
  std::map<std::string, std::size_t, std::less<>> positions;

  bool start_object(std::size_t) {
    if (section_ == section::outside) return enter(section::root);
    if (section_ != section::root) unexpected("an object");
    if (name_ == "__metadata__") return enter(section::metadata);
    entry_ = {};
    field_.clear();
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return enter(section::tensor);
  }
  bool end_object() {
    if (section_ == section::root) return enter(section::outside);
    if (section_ == section::tensor) finish_tensor();
    return enter(section::root);
  }
  bool key(json::string_t& key) {
    if (section_ == section::root) return root_key(key);
    if (section_ == section::metadata) {
      field_ = key;
      if (metadata.contains(key)) refuse("the key appears twice");
      return true;
    }
    field_ = key;
    bool* const seen = key == "dtype"          ? &has_dtype_
                       : key == "shape"        ? &has_shape_
                       : key == "data_offsets" ? &has_offsets_
                                               : nullptr;
    if (seen == nullptr) refuse("unknown key, known are dtype, shape and data_offsets");
    if (std::exchange(*seen, true)) refuse("the key appears twice");
    return true;
  }
  bool string(json::string_t& value) {
    if (section_ == section::metadata) {
      metadata[field_] = value;
      return true;
    }
    if (section_ != section::tensor || field_ != "dtype") unexpected("a string");
    entry_.dtype = dtype::other;
    entry_.dtype_name = value;
    for (const dtype_row& row : dtype_rows)
      if (row.name == value) entry_.dtype = row.type;
    return true;
  }
  bool start_array(std::size_t) {
    if (section_ != section::tensor || field_ == "dtype") unexpected("an array");
    numbers_.clear();
    return enter(section::numbers);
  }
  bool number_unsigned(json::number_unsigned_t value) {
    if (section_ != section::numbers) unexpected(to_text("the number ", value));
    if (value > static_cast<std::uint64_t>(std::numeric_limits<index_type>::max())) refuse(value, " is too large");
    if (numbers_.size() == 64) refuse("more than 64 numbers");
    numbers_.push_back(static_cast<index_type>(value));
    return true;
  }
  bool end_array() {
    if (field_ == "shape") {
      entry_.shape = numbers_;
    } else {
      if (numbers_.size() != 2) refuse(numbers_.size(), " numbers where begin and end were expected");
      entry_.begin = static_cast<std::uint64_t>(numbers_[0]);
      entry_.end = static_cast<std::uint64_t>(numbers_[1]);
    }
    return enter(section::tensor);
  }
  bool number_integer(json::number_integer_t value) { unexpected(to_text("the number ", value)); }
  bool number_float(json::number_float_t, const json::string_t& digits) {
    unexpected(to_text("the number ", std::string_view(digits).substr(0, 40)));
  }
  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("a truth value"); }
  bool binary(json::binary_t&) { unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const json::exception& problem) {
    // The parser counts from 1, and the header starts after the 8 bytes of its length.
    fail(source_, ": the header is not valid JSON at byte ", 8 + position - std::min<std::size_t>(position, 1),
         " of the file: ", printable(problem.what(), 240));
  }

  /// Checks that the offsets lie inside the data section and cover it exactly once.
  void check_cover(std::uint64_t data_bytes) const {
    std::vector<const safetensors_entry*> order;
    for (const safetensors_entry& entry : entries) order.push_back(&entry);
    std::ranges::sort(order, {}, [](const auto* entry) { return std::pair(entry->begin, entry->end); });
    const safetensors_entry* previous = nullptr;
    std::uint64_t covered = 0;
    for (const safetensors_entry* entry : order) {
      const std::string where =
          to_text(source_, ": tensor ", printable(entry->name), ": data_offsets ", offsets(*entry));
      require(entry->end <= data_bytes, where, " reach past the ", data_bytes, " bytes of data in the file");
      require(entry->begin >= covered, where, " overlap those of tensor ",
              printable(previous == nullptr ? "" : previous->name));
      require(entry->begin == covered, where, " leave a hole: bytes ", covered, " to ", entry->begin,
              " of the data belong to no tensor");
      covered = entry->end;
      previous = entry;
    }
    require(covered == data_bytes, source_, ": the last ", data_bytes - covered, " of ", data_bytes,
            " bytes of data, from offset ", covered, " on, belong to no tensor");
  }

 private:
  enum class section { outside, root, metadata, tensor, numbers };

  bool enter(section next) {
    section_ = next;
    return true;
  }
  bool root_key(const std::string& key) {
    name_ = key;
    if (key == "__metadata__") {
      require(!std::exchange(has_metadata_, true), source_, ": __metadata__ appears twice in the header");
      return true;
    }
    const bool is_new = positions.emplace(key, entries.size()).second;
    require(is_new, source_, ": tensor ", printable(key), " appears twice in the header");
    return true;
  }
  void finish_tensor() {
    field_.clear();
    if (!has_dtype_) refuse("dtype is missing");
    if (!has_shape_) refuse("shape is missing");
    if (!has_offsets_) refuse("data_offsets is missing");
    if (entry_.begin > entry_.end) refuse("data_offsets ", offsets(entry_), " run backwards");
    std::uint64_t bits = 8 * size_of(entry_.dtype), all = 0;
    for (const other_dtype& row : other_dtypes)
      if (row.name == entry_.dtype_name) bits = row.bits;
    const bool known = bits > 0;
    const std::string size =
        to_text("shape ", bracketed(std::span<const index_type>(entry_.shape)), " of ",
                entry_.dtype == dtype::other ? printable(entry_.dtype_name, 40) : entry_.dtype_name);
    if (!tensor_bits(known ? bits : 1, entry_.shape, all)) refuse(size, " has too many elements to count");
    const std::uint64_t bytes = entry_.end - entry_.begin;
    const std::string taken = all % 8 == 0 ? to_text(all / 8, " bytes") : to_text(all, " bits");
    if (known && all != 8 * bytes)
      refuse(size, " takes ", taken, ", but data_offsets ", offsets(entry_), " hold ", bytes);
    entry_.name = name_;
    entries.push_back(std::move(entry_));
  }
  static std::string offsets(const safetensors_entry& entry) {
    return bracketed<std::uint64_t>(std::array{entry.begin, entry.end});
  }
  const char* expected() const {
    switch (section_) {
      case section::outside:
        return "an object of tensors";
      case section::root:
        return "an object";
      case section::metadata:
        return "a string";
      case section::tensor:
        return field_ == "dtype" ? "a string" : "an array of whole numbers";
      case section::numbers:
        return "a whole number from 0 to 2^63 - 1";
    }
    return "";
  }
  [[noreturn]] void unexpected(const std::string& found) const {
    refuse(found, " where ", expected(), " was expected");
  }
  /// Throws the message after its place in the header.
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    std::string where = source_ + ": header";
    if (section_ == section::metadata || (section_ == section::root && name_ == "__metadata__"))
      where = source_ + ": __metadata__";
    else if (section_ != section::outside)
      where = source_ + ": tensor " + printable(name_);
    if (section_ != section::root && !field_.empty()) where.append(": ").append(printable(field_));
    fail(where, ": ", parts...);
  }

  std::string source_;
  section section_ = section::outside;
  std::string name_;   // of the tensor, or __metadata__
  std::string field_;  // of the tensor or of the metadata
  safetensors_entry entry_;
  std::vector<index_type> numbers_;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false, has_metadata_ = false;
};

}  // namespace detail

/// A safetensors file, or all shards of one. The whole header is checked first; the data are read on demand.
class safetensors_file {
 public:
  /// `path` is a file, an index of shards (Hugging Face's model.safetensors.index.json), or a folder that holds one.
  /// Shards lie beside their index. If files share a metadata key, the index's own strings come first, then those of
  /// the shard whose name sorts first.
  static safetensors_file read(const std::filesystem::path& path) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
      const std::filesystem::path index = path / "model.safetensors.index.json";
      require(std::filesystem::exists(index, ignored), "cannot read ", path, ": it is a directory without ",
              index.filename(), "; name the .safetensors file in it");
      return read(index);
    }
    return in_memory(to_text(path), [&] {
      file_reader reader(path);
      safetensors_file file(reader.name());
      if (detail::is_json(start_of(reader)))
        file.add_shards(reader, path.parent_path());
      else
        file.add(std::move(reader));
      return file;
    });
  }

  /// Messages call the bytes `source`.
  static safetensors_file parse(buffer<std::byte> bytes, std::string source) {
    return in_memory(source, [&] {
      safetensors_file file(source);
      file.add(file_reader(std::move(bytes), source));
      return file;
    });
  }

  /// The name of the file in messages.
  const std::string& source() const { return source_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& metadata(const std::string& key) const {
    const auto found = metadata_.find(key);
    require(found != metadata_.end(), source_, ": no ", detail::printable(key), " in its metadata");
    return found->second;
  }

  /// In the order of the header.
  const std::vector<safetensors_entry>& entries() const { return entries_; }
  bool contains(std::string_view name) const { return positions_.contains(name); }
  const safetensors_entry& entry(std::string_view name) const {
    const auto found = positions_.find(name);
    require(found != positions_.end(), source_, ": no tensor ", detail::printable(name));
    return entries_[found->second];
  }
  /// The tensor without a copy, valid while the file lives. `file_reader::in_place` says what must not happen
  /// meanwhile.
  std::span<const std::byte> bytes(const safetensors_entry& entry) const {
    const shard& own = shards_[entry.shard];
    return own.reader.in_place().subspan(own.data_start + entry.begin, entry.end - entry.begin);
  }

  /// All elements, converted to `T`. Floating-point numbers are rounded to floating types; all other conversions must
  /// keep the value.
  template <class T>
  std::vector<T> values(std::string_view name) const {
    static_assert(!std::same_as<T, bool>, "std::vector<bool> is no array: ask for std::uint8_t");
    const safetensors_entry& found = convertible(name);
    std::vector<T> result;
    try {
      result.resize(static_cast<std::size_t>(found.size()));
    } catch (const std::exception&) {  // bad_alloc or length_error
      fail(source_, ": tensor ", detail::printable(name), ": ",
           out_of_memory(static_cast<std::uint64_t>(found.size()), sizeof(T)));
    }
    convert(found, result.data());
    return result;
  }

  /// Copies the elements into `target`; the tensor must have exactly this shape.
  template <class T>
  void copy_to(std::string_view name, std::span<T> target, std::span<const index_type> shape) const {
    const safetensors_entry& found = convertible(name);
    require(std::ranges::equal(found.shape, shape), source_, ": tensor ", detail::printable(name), " has shape ",
            detail::bracketed(std::span<const index_type>(found.shape)), " in the file, but ", detail::bracketed(shape),
            " is expected");
    require(found.size() == static_cast<index_type>(target.size()), source_, ": tensor ", detail::printable(name),
            " has ", found.size(), " elements, but its destination has ", target.size());
    convert(found, target.data());
  }
  template <class T, int Rank>
  void copy_to(std::string_view name, const view<T, Rank>& target) const {
    copy_to(name, std::span<T>(target.data, static_cast<std::size_t>(target.size())), target.shape);
  }

 private:
  struct shard {
    file_reader reader;
    std::uint64_t data_start;
  };
  explicit safetensors_file(std::string source) : source_(std::move(source)) {}

  /// The header of a valid file may be too large for memory.
  template <class Action>
  static safetensors_file in_memory(const std::string& source, Action&& action) {
    try {
      return action();
    } catch (const std::bad_alloc&) {
      fail("cannot read ", source, ": its header does not fit in memory");
    } catch (const std::length_error&) {
      fail("cannot read ", source, ": its header does not fit in memory");
    }
  }

  static std::string text_of(const file_reader& reader, std::uint64_t offset, std::uint64_t bytes) {
    std::string text(bytes, '\0');
    reader.read(offset, std::as_writable_bytes(std::span(text)));
    return text;
  }
  static std::string start_of(const file_reader& reader) {
    return text_of(reader, 0, std::min<std::uint64_t>(reader.size(), 512));
  }
  static void require_size(const std::string& source, std::uint64_t bytes) {
    require(bytes <= detail::safetensors_header_limit, source, ": a header of ", bytes, " bytes is over the limit of ",
            detail::safetensors_header_limit);
  }

  const safetensors_entry& convertible(std::string_view name) const {
    const safetensors_entry& found = entry(name);
    require(found.dtype != dtype::other, source_, ": tensor ", detail::printable(name), " has the dtype ",
            detail::printable(found.dtype_name, 40), ", which this reader cannot convert");
    return found;
  }

  /// Adds the tensors and metadata of one file.
  void add(file_reader reader) {
    const std::string& source = reader.name();
    const std::string start = start_of(reader);
    detail::refuse_other_formats(start, source);
    const std::uint64_t size = reader.size();
    require(size >= 8, source, ": ", size, " bytes are too few for a safetensors file, which starts with 8 bytes of ",
            "header length");
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, start.data(), 8);
    require(header_bytes <= size - 8, source, ": the header claims ", header_bytes, " bytes at offset 8, but only ",
            size - 8, " follow");
    require_size(source, header_bytes);
    const std::string text = text_of(reader, 8, header_bytes);
    require(text.starts_with('{'), source, ": the header at offset 8 does not start with '{'");

    // The parser would stop at a zero byte and ignore the rest.
    const std::size_t zero = text.find('\0');
    require(zero == text.npos, source, ": the header is not valid JSON: a zero byte at offset ", 8 + zero);

    detail::safetensors_header header(source);
    nlohmann::json::sax_parse(std::string_view(text), &header);  // as `parse_json`: one lexer for both
    header.check_cover(size - 8 - header_bytes);

    metadata_.merge(header.metadata);
    for (safetensors_entry& entry : header.entries) {
      const auto [found, is_new] = positions_.emplace(entry.name, entries_.size());
      if (!is_new)
        fail(source, ": tensor ", detail::printable(entry.name), " is also in ",
             shards_[entries_[found->second].shard].reader.name());
      entry.shard = shards_.size();
      entries_.push_back(std::move(entry));
    }
    shards_.push_back({std::move(reader), 8 + header_bytes});
  }

  /// Adds the shards that an index names.
  void add_shards(const file_reader& index, const std::filesystem::path& folder) {
    require_size(source_, index.size());
    const nlohmann::json root = parse_json(text_of(index, 0, index.size()), source_);
    const auto map = root.find("weight_map");
    require(map != root.end(), source_, ": this is JSON without a weight_map, so no index of shards: name the ",
            ".safetensors file, or the model.safetensors.index.json of several");
    require(map->is_object(), source_, ": weight_map is ", detail::value_text(*map),
            ", but an object of file names is expected");
    std::map<std::string, std::vector<std::string>> tensors_of;
    for (const auto& [tensor, name] : map->items()) {
      const auto* const file = name.get_ptr<const std::string*>();
      // Only names beside the index: an index from elsewhere must not open other files.
      require(file != nullptr && !file->empty() && *file != "." && *file != ".." &&
                  file->find_first_of(std::string_view("/\0", 2)) == file->npos,
              source_, ": tensor ", detail::printable(tensor), ": the shard ", detail::value_text(name),
              " is not the name of a file beside the index");
      tensors_of[*file].push_back(tensor);
    }
    if (const auto own = root.find("metadata"); own != root.end() && own->is_object())
      for (const auto& [key, value] : own->items())
        if (value.is_string()) metadata_.emplace(key, value.get<std::string>());
    for (const auto& [name, tensors] : tensors_of) {
      try {
        add(file_reader(folder / name));
      } catch (const error& problem) {
        fail(source_, ": the shard of tensor ", detail::printable(tensors.front()), ": ", problem.what());
      }
      for (const std::string& tensor : tensors) {
        const auto found = positions_.find(tensor);
        require(found != positions_.end() && entries_[found->second].shard + 1 == shards_.size(), source_, ": tensor ",
                detail::printable(tensor), " is not in its shard ", shards_.back().reader.name());
      }
    }
  }

  template <class T>
  void convert(const safetensors_entry& entry, T* target) const {
    with_memory_for("reading a tensor", [&] {
      const shard& own = shards_[entry.shard];
      const std::uint64_t start = own.data_start + entry.begin;
      const index_type size = entry.size();
      if constexpr (!std::same_as<T, bool>)
        if (entry.dtype == dtype_of<T>())
          return own.reader.read(start, std::as_writable_bytes(std::span(target, static_cast<std::size_t>(size))));
      detail::with_stored_type(entry.dtype, [&]<class Stored>(Stored) {
        std::vector<Stored> block(static_cast<std::size_t>(std::min(size, detail::converted_elements)));
        for (index_type first = 0; first < size; first += detail::converted_elements) {
          const index_type count = std::min(size - first, detail::converted_elements);
          own.reader.read(start + static_cast<std::uint64_t>(first) * sizeof(Stored),
                          std::as_writable_bytes(std::span(block).first(static_cast<std::size_t>(count))));
          const index_type done = detail::convert(block.data(), count, target + first);
          if (done < count)
            fail(own.reader.name(), ": tensor ", detail::printable(entry.name), ": ",
                 detail::digits(detail::number_of(block[static_cast<std::size_t>(done)])), " at element ", first + done,
                 " does not fit in ", name_of(dtype_of<T>()));
        }
      });
    });
  }

  std::string source_;
  std::vector<shard> shards_;
  std::map<std::string, std::string> metadata_;
  std::vector<safetensors_entry> entries_;
  std::map<std::string, std::size_t, std::less<>> positions_;
};

/// Collects tensors and writes them. It keeps pointers: the data must live until `write` returns.
class safetensors_writer {
 public:
  void set_metadata(const std::string& key, std::string value) { metadata_[key] = std::move(value); }

  /// Adds the elements at `data` unchanged, row-major.
  void add(std::string name, dtype type, std::vector<index_type> shape, const void* data) {
    const std::string where = to_text("tensor ", detail::printable(name));
    require(name != "__metadata__", where, ": this name is taken by the format");
    require(type != dtype::other, where, ": its dtype is missing");
    std::uint64_t bits = 0;
    const bool countable = detail::tensor_bits(8 * size_of(type), shape, bits);
    const std::uint64_t bytes = bits / 8;
    require(countable, where, ": shape ", detail::bracketed(std::span<const index_type>(shape)),
            " has a negative extent or too many elements");
    require(data != nullptr || bytes == 0, where, ": no data");
    require(names_.insert(name).second, where, " was added twice");
    tensors_.push_back(
        {{std::move(name), type, std::move(shape), 0, bytes, 0, std::string(name_of(type))}, data, type});
  }
  /// Floating-point numbers can be written `as` F64, F32, F16 or BF16: rounded to nearest, ties to even. `write` fails
  /// if a finite number would become infinite.
  template <class T>
  requires std::is_arithmetic_v<T>
  void add(std::string name, std::vector<index_type> shape, const T* data, dtype as = dtype_of<T>()) {
    require(as == dtype_of<T>() || (std::floating_point<T> && as <= dtype::BF16), "tensor ", detail::printable(name),
            ": ", name_of(dtype_of<T>()), " cannot be written as ", name_of(as));
    add(std::move(name), as, std::move(shape), static_cast<const void*>(data));
    tensors_.back().from = dtype_of<T>();
  }
  template <class T, int Rank>
  void add(std::string name, const view<T, Rank>& values, dtype as = dtype_of<std::remove_const_t<T>>()) {
    add<std::remove_const_t<T>>(std::move(name), {values.shape.begin(), values.shape.end()}, values.data, as);
  }

  /// Replaces `path` as a whole or leaves it as it was. The header lists the tensors in the order of `add`.
  void write(const std::filesystem::path& path) const {
    with_memory_for("writing tensors", [&] {
      // Large elements first: otherwise small ones could leave a large one unaligned for its reader.
      std::vector<tensor> tensors = tensors_;
      std::vector<std::size_t> order(tensors.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::ranges::stable_sort(order, std::greater{}, [&](std::size_t at) { return size_of(tensors[at].entry.dtype); });
      std::uint64_t offset = 0;
      for (const std::size_t at : order) {
        safetensors_entry& entry = tensors[at].entry;
        entry.begin = offset;
        entry.end = offset += entry.end;
      }
      const std::string start = header(tensors, path);
      write_file_atomically(path, [&](file_output& output) {
        output.write(start);
        for (const std::size_t at : order) {
          const auto& [entry, data, from] = tensors[at];
          if (from == entry.dtype)
            output.write({static_cast<const std::byte*>(data), static_cast<std::size_t>(entry.end - entry.begin)});
          else if (from == dtype::F64)
            write_rounded(output, entry, static_cast<const double*>(data), path);
          else
            write_rounded(output, entry, static_cast<const float*>(data), path);
        }
      });
    });
  }

 private:
  struct tensor {
    safetensors_entry entry;  // begin is 0 until its offset is known
    const void* data;
    dtype from;
  };

  template <class Number>
  static void write_rounded(file_output& output, const safetensors_entry& entry, const Number* numbers,
                            const std::filesystem::path& path) {
    const auto write_as = [&]<class Stored>(Stored) {
      const index_type size = entry.size();
      std::vector<Stored> block(static_cast<std::size_t>(std::min(size, detail::converted_elements)));
      for (index_type first = 0; first < size; first += detail::converted_elements) {
        const index_type count = std::min(size - first, detail::converted_elements);
        const index_type done = detail::round(numbers + first, count, block.data());
        if (done < count)
          fail("cannot write ", path, ": tensor ", detail::printable(entry.name), ": ",
               detail::digits(numbers[first + done]), " at element ", first + done, " is too large for ",
               name_of(entry.dtype));
        output.write(std::as_bytes(std::span(block).first(static_cast<std::size_t>(count))));
      }
    };
    if (entry.dtype == dtype::F64) return write_as(double{});
    if (entry.dtype == dtype::F32) return write_as(float{});
    if (entry.dtype == dtype::F16) return write_as(float16{});
    return write_as(bfloat16{});
  }

  /// The length and the header, padded with spaces so that the data start at a multiple of 8 bytes.
  std::string header(const std::vector<tensor>& tensors, const std::filesystem::path& path) const {
    std::string text(8, '\0');
    text += '{';
    if (!metadata_.empty()) {
      text += "\"__metadata__\":{";
      for (const auto& [key, value] : metadata_) text += encoded(key, path) + ':' + encoded(value, path) + ',';
      text.back() = '}';
      text += ',';
    }
    for (const auto& [entry, data, from] : tensors) {
      text += encoded(entry.name, path) + ":{\"dtype\":\"" + std::string(name_of(entry.dtype)) +
              "\",\"shape\":" + detail::bracketed(std::span<const index_type>(entry.shape)) +
              ",\"data_offsets\":" + detail::bracketed<std::uint64_t>(std::array{entry.begin, entry.end}) + "},";
    }
    if (text.back() == ',') text.pop_back();
    text += '}';
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::uint64_t bytes = text.size() - 8;
    require(bytes <= detail::safetensors_header_limit, "cannot write ", path, ": a header of ", bytes,
            " bytes is over the limit of ", detail::safetensors_header_limit);
    std::memcpy(text.data(), &bytes, 8);
    return text;
  }
  static std::string encoded(const std::string& text, const std::filesystem::path& path) {
    try {
      return nlohmann::json(text).dump();
    } catch (const nlohmann::json::exception&) {
      fail("cannot write ", path, ": ", detail::printable(text), " is not valid UTF-8");
    }
  }

  std::map<std::string, std::string> metadata_;
  std::vector<tensor> tensors_;
  std::set<std::string> names_;
};

}  // namespace strata
