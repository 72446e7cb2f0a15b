// axios in its form for Node.js, which sends by sockets.

import axios from "axios";
import { plugin } from "elita-plugin";

export const { registration, handler } = plugin({
  actions: {
    my_application: [{ name: "Axios", description: "Fetches a URL", run: async (call) => (await axios.get(call.text("url"))).data }],
  },
});
