// Registers the page's element, which has a file of its own.
import { SheafPage } from './sheaf-page.ts'

customElements.define('sheaf-page', SheafPage)
