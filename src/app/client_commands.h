// Subcommands that talk to a running server over its REST API: project, env, flag, keys.  Each is a
// function of parsed options and two streams, so that it can be tested without a command line.
//
// Exit status: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "app/exit_status.h"
#include "base/clock.h"
#include "base/error.h"

namespace flagstream::app {

inline constexpr std::string_view kDefaultServer = "http://127.0.0.1:8080";

struct ApiRequest {
  std::string method;
  std::string path;  // beginning with /api/
  std::string body;  // empty: none
  std::string content_type = "application/json";
};
struct ApiAnswer {
  long status = 0;
  std::string body;
};
// Unavailable when nobody answers.
using Transport = std::function<Result<ApiAnswer>(const ApiRequest&)>;

// Over HTTP with libcurl; blocks, at most 30 s for each request.
Transport http_transport(std::string server, std::string token);
// The same over control's own socket, for programs on its machine.
Transport socket_transport(std::string socket_path, std::string token);

// What the command line says of where the server is and who calls.
struct ClientOptions {
  std::string
      server;  // empty: FLAGSTREAM_SERVER, else the one of the data folder, else kDefaultServer
  std::string token;  // empty: FLAGSTREAM_TOKEN, else run/admin-token in the data folder, else none
  std::string data_folder;  // of a server on this machine
};
Transport transport_to(const ClientOptions& options);
// The address at which people reach that server, without a slash at its end.
std::string address_of(const ClientOptions& options);

enum class Output { Table, Json };

struct Console {
  std::ostream& out;
  std::ostream& err;
  Output output = Output::Table;
};

// Where a flag or key lives.  Without a project: the only one there is.
struct Place {
  std::string project;
  std::string environment = "production";
};

int project_list(const Transport& transport, const Console& console);
int project_create(const Transport& transport, const Console& console, const std::string& key,
                   const std::string& name);

int environment_list(const Transport& transport, const Console& console, const Place& place);
int environment_create(const Transport& transport, const Console& console, const Place& place,
                       const std::string& key, const std::string& name);

int flag_list(const Transport& transport, const Console& console, const Place& place);
struct NewFlagOptions {
  std::string key;
  std::string name;                     // empty: the key
  std::vector<std::string> variations;  // JSON values; none: true and false
  bool client_side = false;             // available to browsers and mobile applications
};
int flag_create(const Transport& transport, const Console& console, const Place& place,
                const NewFlagOptions& options);
enum class Switch { Off, On };
int flag_switch(const Transport& transport, const Console& console, const Place& place,
                const std::string& key, Switch to);
// `shares`: VARIATION=PERCENT, a variation being its name, its JSON value or its index; they add up
// to 100.
int flag_rollout(const Transport& transport, const Console& console, const Place& place,
                 const std::string& key, const std::vector<std::string>& shares,
                 const std::string& context_kind = "user");

// A new one-time address that signs a browser in; those before it stop working.
int setup_link(const Transport& transport, const Console& console, const std::string& address);

// SDK key, mobile key and client-side id, and the old keys that still work.
int keys(const Transport& transport, const Console& console, const Place& place);

struct RotateOptions {
  bool mobile = false;  // the mobile key, not the SDK key
  std::string grace;    // how long the old key still works, a duration; empty: no longer
};
// Prints the new key.
int keys_rotate(const Transport& transport, const Console& console, const Place& place,
                const RotateOptions& options, const Clock& clock);
// Ends an old key before its time.
int keys_end(const Transport& transport, const Console& console, const Place& place,
             const std::string& id);

}  // namespace flagstream::app
