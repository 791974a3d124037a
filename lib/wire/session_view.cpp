#include "wire/session_view.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/clock.hpp"
#include "wire/json_reader.hpp"

namespace mc::wire {
namespace {

constexpr std::array<std::pair<Holding, const char*>, 3> kHoldings{
    {{Holding::nothing, "nothing"}, {Holding::part, "part"}, {Holding::all, "all"}}};
constexpr char kView[] = "what the server says of the session is not understood";
constexpr char kTelemetry[] = "telemetry is not understood";

}  // namespace

TakeState state_of(const Take& take, const std::vector<GuestOfTake>& guests) {
  const TakeState decided = take.decided();
  const bool has_all = !guests.empty() && std::ranges::all_of(guests, [](const GuestOfTake& guest) {
    return guest.holding == Holding::all;
  });
  return has_all ? next_state(decided, TakeCause::all_receipts).value_or(decided) : decided;
}

const char* name(Holding holding) {
  for (const auto& [value, text] : kHoldings) {
    if (value == holding) return text;
  }
  return "nothing";
}

json::object to_json(const Telemetry& telemetry) {
  json::object o{{"guest", telemetry.guest}, {"state", telemetry.state}, {"version", telemetry.version}};
  if (!telemetry.take.empty()) o["take"] = telemetry.take;
  const auto put = [&o](const char* key, const auto& value) {
    if (value) o[key] = *value;
  };
  put("recorded_ms", telemetry.recorded_ms);
  put("chunks_durable", telemetry.chunks_durable);
  put("chunks_uploaded", telemetry.chunks_uploaded);
  put("lag_ms", telemetry.lag_ms);
  put("disk_free_bytes", telemetry.disk_free_bytes);
  put("encoder_load_percent", telemetry.encoder_load_percent);
  put("sound_peak_db", telemetry.sound_peak_db);
  put("clock_offset_us", telemetry.clock_offset_us);
  put("clock_bound_us", telemetry.clock_bound_us);
  put("round_trip_us", telemetry.round_trip_us);
  if (!telemetry.alarms.empty()) o["alarms"] = texts_to_json(telemetry.alarms);
  return o;
}

Result<Telemetry> telemetry_from_json(const json::object& o) {
  JsonReader reader(o, ErrorKind::protocol, kTelemetry);
  Telemetry telemetry;
  telemetry.guest = reader.text("guest");
  reader.check(is_name(telemetry.guest), "guest");
  telemetry.state = reader.text("state");
  const std::int64_t version = reader.number("version");
  reader.check(version >= 0, "version");
  telemetry.version = static_cast<std::uint64_t>(version);
  telemetry.take = json::get_string(o, "take").value_or("");
  reader.check(telemetry.take.empty() || is_take(telemetry.take), "take");
  telemetry.recorded_ms = reader.number_if_there("recorded_ms");
  telemetry.chunks_durable = reader.number_if_there("chunks_durable");
  telemetry.chunks_uploaded = reader.number_if_there("chunks_uploaded");
  telemetry.lag_ms = reader.number_if_there("lag_ms");
  telemetry.disk_free_bytes = reader.number_if_there("disk_free_bytes");
  telemetry.encoder_load_percent = reader.number_if_there("encoder_load_percent");
  if (const auto* peak = o.if_contains("sound_peak_db")) {
    reader.check(peak->is_number(), "sound_peak_db");
    if (peak->is_number()) telemetry.sound_peak_db = peak->to_number<double>();
  }
  telemetry.clock_offset_us = reader.number_if_there("clock_offset_us");
  telemetry.clock_bound_us = reader.number_if_there("clock_bound_us");
  telemetry.round_trip_us = reader.number_if_there("round_trip_us");
  if (o.contains("alarms")) telemetry.alarms = reader.texts("alarms");
  MC_TRY(reader.status());
  return telemetry;
}

const TakeView* SessionView::find(std::string_view take) const {
  const auto found = std::ranges::find(takes, take, &TakeView::name);
  return found == takes.end() ? nullptr : &*found;
}

const TakeView* SessionView::recording() const {
  const auto found = std::ranges::find(takes, TakeState::recording, &TakeView::state);
  return found == takes.end() ? nullptr : &*found;
}

json::object to_json(const SessionView& view) {
  json::array guests, takes;
  for (const GuestView& guest : view.guests) {
    json::object o{{"guest", guest.guest}, {"online", guest.online}};
    if (guest.telemetry) o["telemetry"] = to_json(*guest.telemetry);
    guests.push_back(std::move(o));
  }
  for (const TakeView& take : view.takes) {
    json::array of_take;
    for (const GuestOfTake& guest : take.guests) {
      of_take.push_back(json::object{
          {"guest", guest.guest}, {"holding", name(guest.holding)}, {"recordings", texts_to_json(guest.recordings)}});
    }
    json::object o{{"take", take.name}, {"state", name(take.state)}, {"t0", format_utc(take.t0_ns)}};
    if (take.t1_ns) o["t1"] = format_utc(*take.t1_ns);
    o["guests"] = std::move(of_take);
    if (!take.missing.empty()) o["missing"] = texts_to_json(take.missing);
    takes.push_back(std::move(o));
  }
  return {{"session", view.name},           {"id", view.id},   {"version", view.version},
          {"now", format_utc(view.now_ns)}, {"key", view.key}, {"guests", std::move(guests)},
          {"takes", std::move(takes)}};
}

Result<SessionView> session_view_from_json(const json::object& o) {
  JsonReader reader(o, ErrorKind::protocol, kView);
  SessionView view;
  view.name = reader.text("session");
  reader.check(is_name(view.name), "session");
  view.id = reader.text("id");
  reader.check(is_recording_id(view.id), "id");
  const std::int64_t version = reader.number("version");
  reader.check(version > 0, "version");
  view.version = static_cast<std::uint64_t>(version);
  view.now_ns = reader.time("now");
  view.key = reader.text("key");
  for (const json::object* part : reader.objects("guests")) {
    JsonReader of_guest(*part, ErrorKind::protocol, kView);
    GuestView guest;
    guest.guest = of_guest.text("guest");
    of_guest.check(is_name(guest.guest), "guest");
    guest.online = json::get_bool(*part, "online").value_or(false);
    if (const auto* telemetry = of_guest.object_if_there("telemetry")) {
      auto read = telemetry_from_json(*telemetry);
      of_guest.take_over(read);
      if (read) guest.telemetry = std::move(*read);
    }
    reader.take_over(Result<void>(of_guest.status()));
    view.guests.push_back(std::move(guest));
  }
  for (const json::object* part : reader.objects("takes")) {
    JsonReader of_take(*part, ErrorKind::protocol, kView);
    TakeView take;
    take.name = of_take.text("take");
    of_take.check(is_take(take.name), "take");
    take.state = of_take.word("state", parse_take_state, TakeState::standby);
    take.t0_ns = of_take.time("t0");
    if (part->contains("t1")) take.t1_ns = of_take.time("t1");
    for (const json::object* item : of_take.objects("guests")) {
      JsonReader of_guest(*item, ErrorKind::protocol, kView);
      GuestOfTake guest;
      guest.guest = of_guest.text("guest");
      of_guest.check(is_name(guest.guest), "guest");
      const auto parse_holding = [](std::string_view text) -> std::optional<Holding> {
        const auto found =
            std::ranges::find(kHoldings, text, [](const auto& pair) { return std::string_view(pair.second); });
        if (found == kHoldings.end()) return std::nullopt;
        return found->first;
      };
      guest.holding = of_guest.word("holding", parse_holding, Holding::nothing);
      guest.recordings = of_guest.texts("recordings");
      // They become parts of paths.
      for (const std::string& recording : guest.recordings) {
        of_guest.check(is_same_or_rebound(recording, guest.guest), "recordings");
      }
      of_take.take_over(Result<void>(of_guest.status()));
      take.guests.push_back(std::move(guest));
    }
    if (part->contains("missing")) take.missing = of_take.texts("missing");
    reader.take_over(Result<void>(of_take.status()));
    view.takes.push_back(std::move(take));
  }
  MC_TRY(reader.status());
  return view;
}

std::string sessions_target() { return "/v1/sessions"; }

std::string session_target(std::string_view session, std::string_view action) {
  std::string target = sessions_target() + "/" + percent_encode(session);
  if (!action.empty()) target += "/" + std::string(action);
  return target;
}

}  // namespace mc::wire
